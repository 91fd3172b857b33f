"""A small byte-level BPE in CLIP's layout: every caption word is one token, all text still fits.

Common words come from the emoji names in Debian's unicode-data (apt-get install unicode-data).
"""

import json
import re
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from builtin_model.captions import FILLERS, HELD_OUT_FORMS, STYLE_WORDS, TRAINING_FORMS
from builtin_model.objects import NAMES
from builtin_model.pictures import BACKGROUNDS, SIZES

EMOJI_NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")
LENGTH, VOCABULARY = 32, 2048
START, END = "<|startoftext|>", "<|endoftext|>"


def caption_words() -> set[str]:
    """Every word the caption grammar can say."""
    phrases = [*TRAINING_FORMS, *HELD_OUT_FORMS, *NAMES, *BACKGROUNDS, *SIZES, *FILLERS]
    phrases += [s for styles in STYLE_WORDS.values() for s in styles] + ["an medium"]
    return set(re.findall(r"[a-z]+", " ".join(phrases))) - {"thing"}


def build_tokenizer() -> CLIPTokenizer:
    """Learn merges (caption words first) and lay the vocabulary out as CLIP does."""
    words = re.findall(r"[a-z]+", EMOJI_NAMES.read_text(encoding="utf-8").lower())
    corpus = sorted(caption_words()) * 200 + words
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2 - 512 + 52, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(corpus, trainer)
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    merges = merges[: VOCABULARY - 514]
    tokens = [*letters, *(x + "</w>" for x in letters), *("".join(m) for m in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def stored_tokenizer(work: Path) -> CLIPTokenizer:
    """The tokenizer of this training run, built once: ties in BPE learning fall differently in
    every process, and two swapped ids would swap two words for the networks.
    """
    folder = work / "tokenizer"
    if not folder.exists():
        build_tokenizer().save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
