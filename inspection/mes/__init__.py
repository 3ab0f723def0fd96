"""What leaves the station: receiver.py says what is delivered and to whom.

sparkplug.py (wire format), sparkplug_metrics.py (events as metrics), sparkplug_session.py (one connection) and mqtt.py
(the receiver) are MQTT Sparkplug B.
"""
