"""Makes views over the tables for questions in SQL, or a script that makes them."""

from newslake.pipeline.views import make_views
from newslake.run.cli import main

if __name__ == "__main__":
    main(make_views)
