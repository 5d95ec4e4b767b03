"""Makes ``twistd jobs``."""

from twisted.application.service import ServiceMaker

jobs = ServiceMaker("jobs", "jobs_tap", "A job queue with a control socket.", "jobs")
