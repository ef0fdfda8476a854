"""A tokenizer of bytes and a few words, as a file."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = 0
WORDS = ['{"', '":', '": ', ', "', '"}', "true", "null", "Ġthe", "ab", "abc", "12", "ĊĊ", "Ã¤", "ðŁ"]


def write_byte_tokens(path: Path) -> Path:
    """`END` is the token that ends a text; a second special one must never come in a text of a grammar."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["</s>", "<tool>", *alphabet, *WORDS]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("</s>", special=True), AddedToken("<tool>", special=True)])
    tokenizer.save(str(path))
    return path
