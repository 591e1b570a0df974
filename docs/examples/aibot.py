#!/usr/bin/env python3
"""A strategy of type `aibot`: reads ticks, decides, publishes signals, reads results.

Needs paho-mqtt 2 (`pip install paho-mqtt`) and in tradebus' configuration

    [strategy.bot1]
    type = "aibot"
    symbols = ["BTC-USDT"]
    ticks = true
    default_size = { equity_pct = 10 }

Against `tradebus demo`, which has such a strategy: `python3 aibot.py --feed synthetic --fast-s 5 --slow-s 20`.

The decision here is a crossing of two moving averages: put yours into `Model`. What stays worth keeping around it:

- Signals are targets (`long`, `short`, `flat`): repeating one does no harm, and the next one heals a lost one.
- Every signal has an id and a time, QoS 1, no retain flag. Without a result it is sent again, unchanged, under the same
  id, for as long as it is fresh: tradebus answers a repetition with the same result and changes nothing.
- A stale price decides nothing.
"""

import argparse
import datetime
import json
import os
import time
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

AGE_MAX_S = 20
REPEAT_AFTER_S = 5


class Model:
    """Two exponential moving averages of the price, over time, with a dead zone between them."""

    def __init__(self, fast_s, slow_s, band_bps):
        self.fast_s, self.slow_s, self.band = fast_s, slow_s, band_bps / 10_000
        self.fast = self.slow = self.last_at = None
        self.seen_s = 0.0

    def target(self, price, at):
        """The wanted position after a price at a time in seconds, or None while it is not known."""
        if self.last_at is None:
            self.fast = self.slow = price
        else:
            passed = max(at - self.last_at, 0.0)
            self.seen_s += passed
            self.fast += (price - self.fast) * min(passed / self.fast_s, 1.0)
            self.slow += (price - self.slow) * min(passed / self.slow_s, 1.0)
        self.last_at = at
        if self.seen_s < self.slow_s:
            return None
        distance = self.fast / self.slow - 1
        if distance > self.band:
            return "long"
        if distance < -self.band:
            return "short"
        return None


class Bot:
    def __init__(self, options):
        self.options = options
        self.model = Model(options.fast_s, options.slow_s, options.band_bps)
        self.wanted = None
        self.pending = None
        base = options.base
        self.topic_tick = f"{base}/tick/{options.feed}/{options.symbol}"
        self.topic_signal = f"{base}/strategy/{options.strategy}/signal"
        self.topic_result = f"{self.topic_signal}/result"
        self.topic_state = f"{base}/daemon/state"
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"aibot-{options.strategy}",
            protocol=mqtt.MQTTv5,
        )
        if options.username:
            self.client.username_pw_set(options.username, os.environ.get("AIBOT_PASSWORD"))
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message

    def run(self):
        self.client.connect(self.options.host, self.options.port, clean_start=True)
        while True:
            # Waits for messages, and reconnects by itself after an error.
            if self.client.loop(timeout=1.0) != mqtt.MQTT_ERR_SUCCESS:
                time.sleep(1)
                try:
                    self.client.reconnect()
                except OSError as error:
                    print(f"no broker: {error}")
            self.repeat()

    def on_connect(self, client, _userdata, _flags, reason, _properties):
        print(f"connected: {reason}")
        client.subscribe([(self.topic_tick, 0), (self.topic_result, 1), (self.topic_state, 1)])

    def on_message(self, _client, _userdata, message):
        if message.topic == self.topic_state:
            print(f"tradebus is {message.payload.decode()}")
        elif message.topic == self.topic_result:
            self.on_result(json.loads(message.payload))
        elif message.topic == self.topic_tick:
            self.on_tick(json.loads(message.payload))

    def on_tick(self, tick):
        price = tick["last"] if tick["last"] is not None else tick["mark"]
        if tick["stale"] or price is None:
            return
        at = datetime.datetime.fromisoformat(tick["time"].replace("Z", "+00:00")).timestamp()
        target = self.model.target(float(price), at)
        if target is not None and target != self.wanted:
            self.wanted = target
            self.send(target, f"fast {self.model.fast:.2f}, slow {self.model.slow:.2f}")

    def send(self, action, comment):
        now = datetime.datetime.now(datetime.timezone.utc)
        signal = {
            "id": str(uuid.uuid4()),
            "time": now.isoformat(timespec="milliseconds"),
            "symbol": self.options.symbol,
            "action": action,
            "max_age_s": AGE_MAX_S,
            "comment": comment,
        }
        self.pending = {"signal": signal, "made_at": time.monotonic(), "sent_at": 0.0}
        self.repeat()

    def repeat(self):
        """Sends the signal that has no result yet, until it would be too old."""
        now = time.monotonic()
        if self.pending is None or now - self.pending["sent_at"] < REPEAT_AFTER_S:
            return
        left_s = AGE_MAX_S - (now - self.pending["made_at"])
        if left_s < 1:
            print(f"no result for {self.pending['signal']['id']}: given up")
            # The next tick may decide the same again, under a new id.
            self.pending, self.wanted = None, None
            return
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = int(left_s)
        payload = json.dumps(self.pending["signal"])
        self.client.publish(self.topic_signal, payload, qos=1, retain=False, properties=properties)
        self.pending["sent_at"] = now
        print(f"sent {payload}")

    def on_result(self, result):
        if self.pending is None or result["id"] != self.pending["signal"]["id"]:
            return
        self.pending = None
        print(f"{result['status']} {result['reason'] or ''} {result['detail'] or ''} orders {result['orders']}")
        if result["status"] == "rejected":
            # Not held: the next crossing, or the same one a minute later, may try again.
            self.model.seen_s = self.model.slow_s - 60
            self.wanted = None


def main():
    parser = argparse.ArgumentParser(description="an example of a strategy for tradebus")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--username", default="", help="the password is taken from AIBOT_PASSWORD")
    parser.add_argument("--base", default="tradebus", help="mqtt.base_topic")
    parser.add_argument("--feed", default="blofin")
    parser.add_argument("--symbol", default="BTC-USDT")
    parser.add_argument("--strategy", default="bot1")
    parser.add_argument("--fast-s", type=float, default=30)
    parser.add_argument("--slow-s", type=float, default=120)
    parser.add_argument("--band-bps", type=float, default=1)
    bot = Bot(parser.parse_args())
    try:
        bot.run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
