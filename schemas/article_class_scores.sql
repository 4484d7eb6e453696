CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The text that was classified',
  model_run STRING NOT NULL COMMENT 'Who says so: a run of train_text_classifier (classify_articles uses its model), or the name under which scores were brought',
  class STRING NOT NULL COMMENT 'The most probable class',
  score DOUBLE NOT NULL COMMENT 'Probability of that class, 0 to 1; from train_text_classifier, of a model that did not train on this text; from classify_articles, of the model of all texts, on one that came later',
  content_hash STRING COMMENT 'content_hash of the text that was classified; NULL where scores were brought without it'
)
USING DELTA
PARTITIONED BY (model_run)
COMMENT 'One row is the class of a text by one classifier'
TBLPROPERTIES (
  'newslake.key' = 'news_id, model_run',
  'newslake.written_by' = 'train_text_classifier, classify_articles, import_labels',
  'delta.constraints.score_is_a_share' = 'score BETWEEN 0 AND 1',
  'delta.enableDeletionVectors' = 'false'
)
