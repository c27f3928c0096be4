"""Parts of vireid outside its package."""
