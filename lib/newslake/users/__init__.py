"""The user side of system B: profiles, tag phrases, reuse by Jaccard similarity, user vectors."""
