"""What a training leaves, in the forms that others load: adapter, merged in 16 or 4 bits, GGUF; here or in a store."""
