"""What is made of estimates: the verdict, the doubts, the words."""
