"""Reads live events from Kafka or JSON lines as they come; writes impressions, clicks, search_queries and
user_interests."""

from newslake.run.cli import main
from newslake.streaming.behaviors import stream_behaviors

if __name__ == "__main__":
    main(stream_behaviors)
