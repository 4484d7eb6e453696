"""Check what the tables hold against thresholds: how fresh, how many, how many rejected; ends with 1 on a
breach, tells a webhook."""

from newslake.checks.check import check_lakehouse
from newslake.run.cli import main

if __name__ == "__main__":
    main(check_lakehouse)
