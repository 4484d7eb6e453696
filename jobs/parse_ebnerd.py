"""Read EB-NeRD's Parquet files into news, impressions, click_history and reads; what cannot be used goes to
quarantine."""

from newslake.intake.sources.ebnerd.parse import parse_ebnerd
from newslake.run.cli import main

if __name__ == "__main__":
    main(parse_ebnerd)
