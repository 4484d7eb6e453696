CREATE TABLE IF NOT EXISTS {table} (
  topic_model STRING NOT NULL COMMENT 'The fitted version; ids mean the same within one only',
  topic_id INT NOT NULL COMMENT 'The topic, from 0, within its model',
  terms ARRAY<STRING> NOT NULL COMMENT 'Top terms, heaviest first',
  term_weights ARRAY<DOUBLE> NOT NULL COMMENT 'Probability of each of these terms in the topic',
  vector ARRAY<FLOAT> NOT NULL COMMENT 'Weighted mean of the word vectors of the top terms (200-d by default)',
  prior DOUBLE NOT NULL COMMENT 'Parameter of the topic in the Dirichlet prior of an article (alpha of LDA)',
  articles BIGINT NOT NULL COMMENT 'Distinct texts that the model was fitted on',
  fitted_at TIMESTAMP NOT NULL COMMENT 'When the model was fitted, UTC'
)
USING DELTA
COMMENT 'One row is one topic of one fitted topic model; a model is complete once its rows are here'
TBLPROPERTIES (
  'newslake.key' = 'topic_model, topic_id',
  'newslake.written_by' = 'fit_topics',
  'delta.constraints.terms_have_weights' = 'size(terms) = size(term_weights)',
  'delta.constraints.vector_not_empty' = 'size(vector) > 0',
  'delta.enableDeletionVectors' = 'false'
)
