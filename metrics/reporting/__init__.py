"""What is made of scores: rankings, tables, the study, curves, pictures, pages and cards."""
