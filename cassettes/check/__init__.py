"""What is done once more with a cassette: translated again, put together again, asked again."""
