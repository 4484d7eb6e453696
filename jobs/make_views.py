"""Makes views over the tables for questions in SQL, or a script that makes them."""

from newslake.cli import main
from newslake.pipeline.views import make_views

if __name__ == "__main__":
    main(make_views)
