"""What readers are shown: stories, newsfeeds, and what these are worth."""
