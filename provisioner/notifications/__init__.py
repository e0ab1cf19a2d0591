"""What customers are told about their subscription, by e-mail: what is due, in which words, and how it is sent."""
