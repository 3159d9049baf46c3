"""From the envelope's ``type`` to the model of its ``data``."""

from signaling.messages import client, server
from signaling.messages.audio import AUDIO_CLIENT_MESSAGES, AUDIO_SERVER_MESSAGES

_REQUESTS: tuple[type[client.ClientMessage], ...] = (
    client.Resume,
    client.Join,
    client.Leave,
    client.SetName,
    client.Offer,
    client.Candidate,
    client.Subscribe,
    client.Unsubscribe,
    client.Mute,
    client.ChatSend,
    client.ChatHistory,
    client.Ping,
    *AUDIO_CLIENT_MESSAGES,
)
_REPLIES_AND_EVENTS: tuple[type[server.ServerMessage], ...] = (
    server.Resumed,
    server.Joined,
    server.Left,
    server.NameSet,
    server.Answer,
    server.Ok,
    server.Subscribed,
    server.Unsubscribed,
    server.ChatSent,
    server.ChatPage,
    server.Pong,
    server.ErrorReply,
    server.Welcome,
    server.ParticipantJoined,
    server.ParticipantLeft,
    server.ParticipantUpdated,
    server.TrackPublished,
    server.TrackUnpublished,
    server.TrackUpdated,
    server.ChatPosted,
    server.Speaking,
    server.LobbyClosed,
    server.Removed,
    server.MediaState,
    server.PrivateAudio,
    server.Closing,
    *AUDIO_SERVER_MESSAGES,
)

CLIENT_MESSAGES: dict[str, type[client.ClientMessage]] = {model.type: model for model in _REQUESTS}
SERVER_MESSAGES: dict[str, type[server.ServerMessage]] = {model.type: model for model in _REPLIES_AND_EVENTS}
