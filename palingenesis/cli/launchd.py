"""The LaunchAgent that starts the daemon at each log-in on macOS, launchd.plist(5)."""

from __future__ import annotations

import os
import shlex
import sys
from xml.sax.saxutils import escape

from palingenesis.trust import write_new

LABEL = "palingenesis"
_TEXT = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- A LaunchAgent, launchd.plist(5); "On macOS" in the handbook says how to install it. -->
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>{label}</string>
	<!-- launchd expands neither ~ nor $HOME, a shell does. -->
	<key>ProgramArguments</key>
	<array>
		<string>/bin/sh</string>
		<string>-c</string>
		<string>{line}</string>
	</array>
	<key>EnvironmentVariables</key>
	<dict>
		<!-- Agents and their tools are looked for here: Homebrew on Apple silicon and on Intel. -->
		<key>PATH</key>
		<string>/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin</string>
		<key>LANG</key>
		<string>en_US.UTF-8</string>
	</dict>
	<key>RunAtLoad</key>
	<true/>
	<!-- A daemon that was stopped stays so; one that failed is started again. -->
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>ThrottleInterval</key>
	<integer>30</integer>
	<!-- Without this, launchd slows down the agents that are brought back too. -->
	<key>ProcessType</key>
	<string>Interactive</string>
	<!-- The soft limit is 256 otherwise. -->
	<key>SoftResourceLimits</key>
	<dict>
		<key>NumberOfFiles</key>
		<integer>4096</integer>
	</dict>
</dict>
</plist>
"""


def launch_agent(program: str) -> str:
    """
    Return the text of a LaunchAgent.

    :param program: what runs this command, as words of a shell.
    """
    log = '"$HOME/Library/Logs/palingenesis.log"'
    # Where the installers of agents, pipx and uv put programs.
    path = 'export PATH="$HOME/.local/bin:$PATH"'
    line = f"{path}; exec {program} start --foreground >>{log} 2>&1"
    return _TEXT.format(label=LABEL, line=escape(line))


def install() -> str:
    """
    Write the LaunchAgent of this very Python, and return its path.

    :raises OSError: if it cannot be written, or is there already.
    """
    directory = os.path.expanduser("~/Library/LaunchAgents")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, f"{LABEL}.plist")
    program = shlex.join([sys.executable, "-P", "-m", "palingenesis"])
    # launchd refuses a file that others can write to.
    write_new(path, launch_agent(program))
    return path
