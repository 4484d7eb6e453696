CREATE TABLE IF NOT EXISTS {table} (
  collection_id STRING NOT NULL COMMENT 'Random id that the collection carries among its properties; one that was dropped, lost or made anew has another',
  item_id STRING NOT NULL COMMENT 'Primary key in the collection: a news_id, or user_id/tag_group/phrase_id',
  collection STRING NOT NULL COMMENT 'Name of the collection in Milvus',
  inputs_hash STRING NOT NULL COMMENT 'Hash of what was sent: differs from that of the table where the item has changed since',
  exported_at TIMESTAMP NOT NULL COMMENT 'When it was sent, UTC',
  expires_at TIMESTAMP COMMENT 'When Milvus lets it go by itself, UTC; NULL where it stays until it is removed'
)
USING DELTA
PARTITIONED BY (collection_id)
COMMENT 'One row is an item that a collection in Milvus holds; written after Milvus took it'
TBLPROPERTIES (
  'newslake.key' = 'collection_id, item_id',
  'newslake.written_by' = 'export_vectors',
  'delta.enableDeletionVectors' = 'false'
)
