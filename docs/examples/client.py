#!/usr/bin/env python3
"""A client of EchoMimic Server: uploads a portrait and speech, follows the task, saves the video.

Needs Python 3.8 or later and nothing else. The few lines of Redis protocol stand in for the
`redis` package; with that package and `requests` the steps are the same.

    python3 client.py --image portrait.png --audio speech.wav --out video.mp4
"""
import argparse
import json
import mimetypes
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
import uuid


class Redis:
    """One connection that sends commands and reads replies (RESP2)."""

    def __init__(self, host, port, db=0, password=None, timeout=None):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.settimeout(timeout)
        self.replies = self.socket.makefile("rb")
        if password:
            self.call("AUTH", password)
        if db:
            self.call("SELECT", db)

    def call(self, *words):
        parts = [str(word).encode() for word in words]
        command = b"*%d\r\n" % len(parts)
        command += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(command)
        return self.read()

    def read(self):
        line = self.replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError("Redis: " + rest.decode())
        size = int(rest)
        if size < 0:
            return None
        if kind == b"$":
            return self.replies.read(size + 2)[:-2].decode()
        return [self.read() for _ in range(size)]


def request(url, token, **options):
    call = urllib.request.Request(url, **options)
    if token:
        call.add_header("Authorization", "Bearer " + token)
    try:
        return urllib.request.urlopen(call, timeout=300)
    except urllib.error.HTTPError as error:
        sys.exit("%s: %s" % (url, json.loads(error.read()).get("message", error)))


def upload(base_url, path, token=None):
    """Sends one file as the form field "file"; returns its file_id."""
    boundary = uuid.uuid4().hex
    mime = mimetypes.guess_type(path)[0] or "application/octet-stream"
    name = os.path.basename(path).replace('"', "%22")
    with open(path, "rb") as file:
        body = b"".join(
            [
                b"--%s\r\n" % boundary.encode(),
                b'Content-Disposition: form-data; name="file"; filename="%s"\r\n' % name.encode(),
                b"Content-Type: %s\r\n\r\n" % mime.encode(),
                file.read(),
                b"\r\n--%s--\r\n" % boundary.encode(),
            ]
        )
    headers = {"Content-Type": "multipart/form-data; boundary=" + boundary}
    with request(base_url + "/api/tempfile/upload", token, data=body, headers=headers) as answer:
        return json.load(answer)["file_id"]


def make_video(options):
    image_id = upload(options.base_url, options.image, options.token)
    audio_id = upload(options.base_url, options.audio, options.token)

    where = (options.redis_host, options.redis_port, options.redis_db, options.redis_password)
    # Subscribe before the task is pushed, so that no message is missed.
    updates = Redis(*where)
    updates.call("SUBSCRIBE", options.channel)

    task = {
        "task_id": str(uuid.uuid4()),
        "session_id": str(uuid.uuid4()),
        "ref_image_id": image_id,
        "audio_id": audio_id,
    }
    for name in ("steps", "cfg", "seed", "frames_num"):
        if getattr(options, name) is not None:
            task[name] = getattr(options, name)
    Redis(*where).call("RPUSH", options.queue, json.dumps(task))
    print("task", task["task_id"])

    while True:
        kind, _channel, text = updates.read()
        if kind != "message":
            continue
        update = json.loads(text)
        if update["task_id"] != task["task_id"]:
            continue
        print("%5.1f %%  %-14s  %s" % (update["progress"], update["status"], update["message"]))
        if update["status"] == "completed":
            break
        if update["status"] == "failed":
            sys.exit("%s: %s" % (update["code"], update["error"]))

    url = options.base_url + "/api/tempfile/download/" + update["video_file_id"]
    with request(url, options.token) as video, open(options.out, "wb") as out:
        shutil.copyfileobj(video, out)
    print("saved", options.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--base-url", default="http://localhost:3000")
    parser.add_argument("--token", help="when the server has an API_TOKEN")
    parser.add_argument("--redis-host", default="localhost")
    parser.add_argument("--redis-port", type=int, default=6379)
    parser.add_argument("--redis-db", type=int, default=0)
    parser.add_argument("--redis-password")
    parser.add_argument("--queue", default="task_queue_gpu_0")
    parser.add_argument("--channel", default="task_progress")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cfg", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--frames-num", type=int)
    make_video(parser.parse_args())


if __name__ == "__main__":
    main()
