CREATE TABLE IF NOT EXISTS {table} (
  topic_model STRING NOT NULL COMMENT 'The fitted version',
  term STRING NOT NULL COMMENT 'A word of the vocabulary, in lower case',
  term_index INT NOT NULL COMMENT 'Place in the vocabulary, from 0, most frequent first',
  articles BIGINT NOT NULL COMMENT 'Distinct texts that hold the term, of those that the model was fitted on',
  topic_counts ARRAY<DOUBLE> NOT NULL COMMENT 'Parameter of the term in the Dirichlet of each topic (lambda of LDA), by topic_id',
  vector ARRAY<FLOAT> NOT NULL COMMENT 'Word vector by Word2Vec (200-d by default)'
)
USING DELTA
PARTITIONED BY (topic_model)
COMMENT 'One row is one term of the vocabulary of one topic model: together they are the saved model'
TBLPROPERTIES (
  'newslake.key' = 'topic_model, term',
  'newslake.written_by' = 'fit_topics',
  'delta.constraints.topic_counts_not_empty' = 'size(topic_counts) > 0',
  'delta.constraints.vector_not_empty' = 'size(vector) > 0',
  'delta.enableDeletionVectors' = 'false'
)
