"""Messages of the streams: articles, and what users do."""
