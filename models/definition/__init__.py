"""What a model is: layers, classes, optimizer, loss."""
