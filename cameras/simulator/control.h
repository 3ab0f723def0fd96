/* The file that control.py and the producer share, one per camera: <root>/<serial>/control.
 *
 * Every field is one 64-bit word, so the layout is the list of names below; control_file.py holds the same list and a
 * test compares the two. After CONTROL_BYTES follow SCENE_SLOTS scenes of scene_bytes each.
 *
 * Locks on the file. The producer holds an open-file-description lock (F_OFD_SETLK) while the camera is open; control.py
 * asks for it to know whether anybody has the camera open, and the kernel drops it when that process dies. Handles of
 * control.py exclude each other with flock(), which is independent of it. The producer never waits for control.py. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

#define CONTROL_MAGIC 0x53494D43414D0003ull
#define CONTROL_BYTES 32768
#define SCENE_SLOTS 32
#define EDGE_RING 1024
#define OUTPUT_RING 512
#define NO_SCENE SCENE_SLOTS

typedef _Atomic uint64_t word;

struct control {
    /* Written once by create(). The sensor is colour if color is 1. */
    word magic;
    word sensor_width;
    word sensor_height;
    word color;
    word scene_bytes;
    /* Standard deviation of the noise in each pixel, in thousandths of an 8-bit step. */
    word noise;
    /* Written by control.py. plug_count changes with each unplug and replug: an open camera remembers the one it saw. */
    word present;
    word plug_count;
    word lost_silently;
    word edges;
    word edge_head;
    word scene_slot;
    word fault_kind;
    word fault_every;
    word fault_at;
    word fault_delay_ms;
    word fault_number;
    /* Nothing is delivered although the camera answers; opening it again clears this. */
    word stalled;
    /* Written by the producer; replug() sets the counters back to 0. */
    word edge_tail;
    word acquiring;
    word fault_done;
    word exposures;
    word delivered;
    word underruns;
    word missed_triggers;
    word software_triggers;
    word faults_injected;
    word user_output;
    /* Line2: is it inverted while it is an output, and how often its source was active since create(). */
    word output_inverted;
    word output_periods;
    /* How many pending exposures show the scene in each slot. An edge protects its slot by being in the ring; the
     * producer raises the slot's count before it moves edge_tail past the edge. */
    word scene_holds[SCENE_SLOTS];
    word scene_kind[SCENE_SLOTS];
    word edge_timestamp_ns[EDGE_RING];
    word edge_scene[EDGE_RING];
    /* From when to when the source of Line2 was active, the newest OUTPUT_RING periods. What the camera's timer ends has its
     * end from the beginning, so that it ends whether or not the process that began it lives; UINT64_MAX: the host holds it. */
    word output_rise_ns[OUTPUT_RING];
    word output_fall_ns[OUTPUT_RING];
};

_Static_assert(sizeof(struct control) <= CONTROL_BYTES, "the scenes start after the control words");

enum scene_kind { SCENE_GRAY8 = 1, SCENE_RGB8 = 2, SCENE_GRAY16 = 3 };

enum fault_kind {
    FAULT_NONE = 0,
    FAULT_DROP = 1,
    FAULT_INCOMPLETE = 2,
    FAULT_CORRUPT = 3,
    FAULT_DUPLICATE_ID = 4,
    FAULT_DELAY = 5,
    FAULT_FROZEN = 6,
    FAULT_CROPPED = 7,
};

#endif
