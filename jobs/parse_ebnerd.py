"""Read EB-NeRD's Parquet files into news, impressions, click_history and reads; what cannot be used goes to quarantine."""

from newslake.cli import main
from newslake.ebnerd.parse import parse_ebnerd

if __name__ == "__main__":
    main(parse_ebnerd)
