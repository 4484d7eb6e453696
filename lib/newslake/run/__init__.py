"""One run of a job: its command line, settings file, record in job_runs, rejected input, and what to say
where it fails."""
