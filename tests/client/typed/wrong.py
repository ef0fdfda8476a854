"""A user's program with one mistake a line. The words of mypy's error stand behind it."""

from msgspec import Struct

from inferstream import Answer, Client, EmbedOptions, SyncClient, TriageOptions


class OtherOptions(Struct, frozen=True):
    scale: int = 5


async def asynchronous(client: Client) -> None:
    answer = await client.request("triage", "a")
    answer.output.categry  # E: has no attribute "categry"
    answer.ouptut  # E: has no attribute "ouptut"
    answer.reply.modell  # E: has no attribute "modell"
    answer.output.confidence.upper()  # E: has no attribute "upper"
    TriageOptions(treshold=0.7)  # E: Unexpected keyword argument "treshold"
    TriageOptions(threshold="high")  # E: expected "float | None"
    TriageOptions(clean="html")  # E: expected "Literal['mail', 'none'] | None"
    await client.request("triage", "a", options=OtherOptions())  # E: No overload variant
    await client.request("triage", "a", options=["threshold"])  # E: No overload variant
    await client.request("triage", "a", tmieout_s=5)  # E: did you mean "timeout_s"
    await client.request("triage", "a", priority="urgent")  # E: No overload variant
    await client.request("triage", "a", timeout_s="5")  # E: No overload variant
    await client.request("triage", "a", key="k")  # E: No overload variant
    await client.request("triage", "a", output=OtherOptions())  # E: No overload variant
    await client.request("triage", b"a")  # E: No overload variant
    await client.request("triage")  # E: No overload variant
    client.map("triage", 7)  # E: No overload variant
    client.map("triage", [None])  # E: List item 0 has incompatible type "None"
    async for mapped in client.map("triage", ["a"]):
        mapped.output  # E: Item "Failure" of "Answer[TriageOutput] | Failure" has no attribute "output"
        if isinstance(mapped, Answer):
            mapped.output.categry  # E: has no attribute "categry"


async def captions(client: Client) -> None:
    client.translate_stream("en", "pt", mode="fast")  # E: incompatible type "Literal['fast']"
    client.translate_stream("en")  # E: Missing positional argument "target"
    client.translate_stream("en", "pt", [7])  # E: List item 0 has incompatible type "int"
    async with client.translate_stream("en", "pt") as stream:
        await stream.send(7)  # E: incompatible type "int"
        async for caption in stream:
            caption.txt  # E: has no attribute "txt"


def synchronous(client: SyncClient) -> None:
    client.request("triage", "a").output.categry  # E: has no attribute "categry"
    client.request("triage", "a", tmieout_s=5)  # E: did you mean "timeout_s"
    for mapped in client.map("triage", ["a"]):
        if isinstance(mapped, Answer):
            mapped.output.categry  # E: has no attribute "categry"
    client.cancel("t1", taks="triage")  # E: Unexpected keyword argument "taks"
    client.cancel("t1", task="triage", reason="bored")  # E: incompatible type "Literal['bored']"
    client.request("triage", "a", options=EmbedOptions())  # E: No overload variant
    client.request("embed", "a").output.vectr  # E: has no attribute "vectr"
    client.stream("triage", "a", tmieout_s=5)  # E: did you mean "timeout_s"
    SyncClient("127.0.0.1:9092", perfix="mine")  # E: Unexpected keyword argument "perfix"
    client.translate_stream("en", "pt", mod="live")  # E: Unexpected keyword argument "mod"
    SyncClient(9092)  # E: incompatible type "int"
