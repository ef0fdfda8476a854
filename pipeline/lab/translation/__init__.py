"""Proving the figures of translations: throughput beside the native engine, scaling, memory."""
