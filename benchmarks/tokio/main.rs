//! What a user of Rust would write: STATUS on a Unix socket, on tokio with one thread.
//!
//! `tokio-peer PATH` serves until it is killed. Each client has a task, at most 512 bytes for
//! its command and five seconds in all; it gets one reply, made anew each time.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(5);
const LONGEST: usize = 512;
const TOO_LONG: &str = "ERR: Command too long (512 bytes at most)\n";

fn answer(line: &[u8], started: Instant) -> String {
    if !line.trim_ascii().eq_ignore_ascii_case(b"STATUS") {
        return "ERR: Unknown command\n".into();
    }
    format!(
        "{{\"state\": \"monitoring\", \"uptime_secs\": {}, \"current_session\": null, \
         \"saves_count\": 0, \"total_resumes\": 0}}\n",
        started.elapsed().as_secs()
    )
}

async fn serve(mut client: UnixStream, started: Instant) -> io::Result<()> {
    let mut received = [0; LONGEST];
    let mut size = 0;
    let reply = loop {
        let read = client.read(&mut received[size..]).await?;
        size += read;
        let line = &received[..size];
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            break answer(&line[..end], started);
        }
        if size == LONGEST {
            break TOO_LONG.into();
        }
        if read == 0 {
            break answer(line, started);
        }
    };
    client.write_all(reply.as_bytes()).await?;
    client.shutdown().await
}

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).expect("usage: tokio-peer PATH");
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(path)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(timeout(DEADLINE, serve(client, started)));
        }
    })
}
