"""Images and patients that two splits share."""
