"""The verdict, and what people read of it: rules, question, model card."""
