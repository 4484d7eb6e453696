"""Trains a recommender from clicks; writes user_embeddings, news_embeddings and model_metrics."""

from newslake.run.cli import main
from newslake.training.recommender import train_recommender

if __name__ == "__main__":
    main(train_recommender)
