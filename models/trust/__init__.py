"""What is fitted on held-out rows so that an answer can be trusted: mixture, temperature, sets, distance, reasons."""
