"""What tests share: writers of objects and BTF, kernels to run on, events to make, records to keep."""
