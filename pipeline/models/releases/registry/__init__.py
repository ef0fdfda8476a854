"""The registry: objects, releases and aliases in a folder or a bucket that machines share."""
