"""The figures of a model beside its original."""
