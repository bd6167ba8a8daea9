"""Images and patients that splits share."""
