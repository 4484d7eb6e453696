"""Readers, after "Sohu News with Milvus": profiles, tag phrases and their reuse, user vectors."""
