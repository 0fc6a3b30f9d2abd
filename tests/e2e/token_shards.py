"""Reads token shards by docs/token_shards.md, and computes Kneser-Ney by its formulas: both independent of Minke's code."""
import collections
import struct


def read_shard(path):
    """The header's numbers, and documents as lists of (token, learned)."""
    data = path.read_bytes()
    magic, version, flags, width, vocab, row, index, count, zero, tokens, documents = struct.unpack_from("<8s8I2Q", data)
    assert (magic, version, zero) == (b"MinkeTok", 1, 0)
    at = 120
    ids = struct.unpack_from(f"<{tokens}{'H' if width == 2 else 'I'}", data, at)
    at += (tokens * width + 7) // 8 * 8
    ends = struct.unpack_from(f"<{documents}Q", data, at)
    at += documents * 8
    bits = data[at:]
    assert len(bits) == ((tokens + 7) // 8 if flags & 1 else 0)
    learned = [bool(bits[i // 8] >> i % 8 & 1) if bits else True for i in range(tokens)]
    starts = [0, *ends[:-1]]
    return ({"vocab": vocab, "row": row, "index": index, "count": count},
            [list(zip(ids[a:b], learned[a:b])) for a, b in zip(starts, ends)])


def tokens(path):
    return [[token for token, _ in document] for document in read_shard(path)[1]]


class KneserNey:
    """Interpolated modified Kneser-Ney over lists of tokens (Chen and Goodman 1999, equations 17 to 22)."""

    def __init__(self, documents, order, vocab):
        self.order, self.vocab = order, vocab
        self.counts = {n: collections.Counter() for n in range(1, order + 1)}
        before = {n: collections.defaultdict(set) for n in range(1, order)}
        for document in documents:
            for n in range(1, order + 1):
                for i in range(len(document) - n + 1):
                    if i + n == 1:
                        continue  # the first token is never predicted
                    gram = tuple(document[i:i + n])
                    if n == order or (i == 0 and n > 1):
                        self.counts[n][gram] += 1
                    if n < order and i > 0:
                        before[n][gram].add(document[i - 1])
        for n in before:
            for gram, tokens_before in before[n].items():
                self.counts[n][gram] += len(tokens_before)
        self.following = {n: collections.defaultdict(list) for n in range(1, order + 1)}
        for n in self.counts:
            for gram, count in self.counts[n].items():
                self.following[n][gram[:-1]].append(count)
        self.discounts = {n: self.discounts_of(self.counts[n].values()) for n in self.counts}

    @staticmethod
    def discounts_of(counts):
        n = [sum(1 for c in counts if c == k) for k in range(5)]
        if not (n[1] and n[2] and n[3]):
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return d if all(0 < d[k] <= k for k in (1, 2, 3)) else [0, 0.5, 1, 1.5]

    def probability(self, context, token):
        context = tuple(context)[max(0, len(context) - self.order + 1):]
        lower = self.probability(context[1:], token) if context else 1 / self.vocab
        n = len(context) + 1
        counts = self.following[n].get(context)
        if not counts:
            return lower
        d, count = self.discounts[n], self.counts[n][context + (token,)]
        left = sum(d[min(c, 3)] for c in counts)
        return (max(count - d[min(count, 3)], 0) + left * lower) / sum(counts)
