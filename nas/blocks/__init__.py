"""What networks are made of. Importing this package fills the tables `BLOCKS` and `HEADS`.

A block of one's own needs no fork: a file with `@BLOCKS.add("name")` above a class that keeps the
contract (`nas.blocks.contract.Block`) is enough, once it is imported.
"""

from nas.blocks.contract import (
    BLOCKS as BLOCKS,
    HEADS as HEADS,
    Block as Block,
    Head as Head,
    config_class as config_class,
)
from nas.blocks.conv import Conv as Conv  # registers "conv"
from nas.blocks.separable import Separable as Separable
from nas.blocks.mbconv import MBConv as MBConv
from nas.blocks.resblock import ResBlock as ResBlock
from nas.blocks.pooling import AvgPool as AvgPool, MaxPool as MaxPool
from nas.blocks.identity import Identity as Identity
from nas.blocks.conv1d import Conv1d as Conv1d
from nas.blocks.recurrent import GRU as GRU, LSTM as LSTM, RNN as RNN
from nas.blocks.transformer import Transformer as Transformer
from nas.blocks.dense import Dense as Dense
from nas.blocks.stems import Embedding as Embedding, Patches as Patches, Project as Project
from nas.blocks.convert import Flatten as Flatten, MapToTokens as MapToTokens, TokensToMap as TokensToMap
from nas.blocks.heads import Attention as Attention, FlattenHead as FlattenHead, Last as Last, Max as Max, Pool as Pool
