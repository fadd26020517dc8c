"""Pure functions of the memory: tensors in, tensors out, no parameters and no state."""
