CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The article, as its source names it (MIND: N12345; EB-NeRD: EB and its number)',
  category STRING COMMENT 'Top-level category, such as sports',
  subcategory STRING COMMENT 'Second-level category, such as soccer',
  title STRING NOT NULL COMMENT 'Headline; empty where the source has none',
  abstract STRING COMMENT 'Short description; empty where the source has none',
  body STRING COMMENT 'Full text, where the source carries one (MIND does not)',
  url STRING COMMENT 'Where the article is published',
  entities ARRAY<STRUCT<field: STRING, label: STRING, type: STRING, wikidata_id: STRING, confidence: DOUBLE, occurrence_offsets: ARRAY<INT>, surface_forms: ARRAY<STRING>>> COMMENT 'Entities linked in title and abstract; field says in which, offsets are in characters',
  published_at TIMESTAMP COMMENT 'Publication time, UTC; from MIND, the first time that the article was shown; NULL where never shown',
  updated_at TIMESTAMP COMMENT 'Time of this version, UTC, where the source has one',
  content_hash STRING NOT NULL COMMENT 'SHA-256 over exactly what is encoded: title, abstract and body'
)
USING DELTA
COMMENT 'One row is an article'
TBLPROPERTIES (
  'newslake.key' = 'news_id',
  'newslake.written_by' = 'parse_behaviors, parse_ebnerd, import_table, import_labels, stream_articles',
  'delta.constraints.news_id_not_empty' = "news_id <> ''",
  'delta.enableDeletionVectors' = 'false'
)
