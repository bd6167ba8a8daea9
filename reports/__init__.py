"""From records to an answer: statistics, sections and the pages made of them."""
