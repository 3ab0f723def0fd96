/* The producer's own structures. One struct camera per directory; all of its state is guarded by its lock. */
#ifndef SIMCAM_H
#define SIMCAM_H

#include <pthread.h>
#include <stdbool.h>

#include "control.h"
#include "gentl.h"

#define BUFFERS_MAX 256
#define EXPOSURES_MAX 64
#define CHUNKS 5
#define CHUNK_BYTES 8
#define USER_OUTPUTS 2
#define XML_ADDRESS 0x10000
#define NEVER UINT64_MAX

/* Register values; the same numbers stand in simcam.xml. */
enum pixel_format { MONO8 = 0x01080001, MONO12 = 0x01100005, BAYER_RG8 = 0x01080009, RGB8 = 0x02180014 };
enum acquisition_mode { CONTINUOUS = 0, SINGLE_FRAME = 1 };
enum trigger_source { SOURCE_SOFTWARE = 0, SOURCE_LINE1 = 1 };
enum line_mode { LINE_INPUT = 0, LINE_OUTPUT = 1 };
enum line_source { LINE_OFF = 0, LINE_USER_OUTPUT0 = 1, LINE_USER_OUTPUT1 = 2, LINE_TIMER0_ACTIVE = 3 };
enum timer_trigger { TIMER_ON_SIGNAL0 = 0, TIMER_OFF = 1 };
enum chunk_id { CHUNK_FRAME_ID = 0xA1, CHUNK_TIMESTAMP, CHUNK_COUNTER_VALUE, CHUNK_EXPOSURE_TIME, CHUNK_PAYLOAD_CRC32 };

/* The remote device's register map. simcam.xml gives each register's address; a test compares the two. */
struct registers {
    char device_vendor_name[64];
    char device_model_name[64];
    char device_serial_number[64];
    double device_temperature;
    uint64_t timestamp_latch;
    uint64_t timestamp_latch_value;
    uint64_t sensor_width;
    uint64_t sensor_height;
    uint64_t width;
    uint64_t height;
    uint64_t offset_x;
    uint64_t offset_y;
    uint64_t pixel_format;
    uint64_t payload_size;
    uint64_t tl_params_locked;
    uint64_t acquisition_mode;
    uint64_t acquisition_start;
    uint64_t acquisition_stop;
    double acquisition_frame_rate;
    uint64_t trigger_selector;
    uint64_t trigger_mode;
    uint64_t trigger_source;
    uint64_t trigger_software;
    double exposure_time;
    double gain;
    uint64_t user_output_selector;
    uint64_t user_output_value[USER_OUTPUTS];
    uint64_t counter_selector;
    uint64_t counter_event_source;
    uint64_t counter_value;
    uint64_t counter_reset;
    uint64_t missed_trigger_count;
    uint64_t chunk_mode_active;
    uint64_t chunk_selector;
    uint64_t chunk_enable[CHUNKS];
    uint64_t line_selector;
    uint64_t line_mode;
    uint64_t line_inverter;
    uint64_t line_source;
    uint64_t line_status;
    uint64_t software_signal_selector;
    uint64_t software_signal_pulse;
    uint64_t timer_selector;
    double timer_duration;
    uint64_t timer_trigger_source;
};

/* One exposure that was started and is not delivered yet. */
struct exposure {
    uint64_t timestamp_ns;
    uint64_t finished_ns;
    uint64_t frame_id;
    uint64_t counter_value;
    uint64_t scene;
    double exposure_us;
    double gain_db;
    enum fault_kind fault;
};

enum buffer_place { WITH_HOST, IN_INPUT, BEING_FILLED, IN_OUTPUT };

struct buffer {
    bool announced;
    bool allocated; /* by DSAllocAndAnnounceBuffer */
    enum buffer_place place;
    struct buffer *next;
    uint8_t *base;
    size_t size;
    void *user;
    /* What the last frame left in it. */
    bool has_data;
    bool incomplete;
    size_t filled;
    size_t chunks;
    SINGLE_CHUNK_DATA chunk[CHUNKS];
    uint64_t frame_id;
    uint64_t timestamp_ns;
    uint64_t width, height, offset_x, offset_y, pixel_format;
};

struct buffer_queue {
    struct buffer *first, *last;
    size_t length;
};

enum module_kind { MODULE_DEVICE, MODULE_STREAM, MODULE_PORT, MODULE_EVENT, MODULE_KINDS };

struct camera {
    struct camera *next;
    char serial[64];
    char directory[512];
    bool listed;
    char handle[MODULE_KINDS]; /* the addresses of its elements are the module handles */

    /* From IFOpenDevice to DevClose. */
    bool open;
    int control_fd;
    int wake_fd;
    size_t mapped_bytes;
    struct control *control;
    uint64_t plug_count;
    struct registers registers;
    uint64_t timer_end_ns; /* of Timer0 */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a buffer arrived, a buffer was filled, the event was killed, or the camera was lost */

    /* From DevOpenDataStream to DSClose. */
    bool streaming;
    bool sensor_stop;
    pthread_t sensor;
    bool event_registered;
    bool event_killed;
    bool grabbing;
    struct buffer buffer[BUFFERS_MAX];
    struct buffer_queue input, output;
    struct buffer *filling;
    uint64_t frames_started, frames_delivered, frames_underrun;

    /* From AcquisitionStart to the next one. */
    uint64_t started_ns;
    uint64_t ready_ns;      /* the sensor takes no trigger before */
    uint64_t next_frame_ns; /* of free run */
    uint64_t frame_id;
    uint64_t counter_value;
    uint64_t missed_trigger_count;
    struct exposure exposure[EXPOSURES_MAX];
    size_t exposure_first, exposures;

    uint8_t *frozen; /* the image that FAULT_FROZEN repeats, NULL while none is; the sensor's thread's own */
    size_t frozen_bytes;
};

/* info.c: answers to Get...Info queries, and the last error of this thread. */
struct answer {
    INFO_DATATYPE *type;
    void *buffer;
    size_t *size;
};
GC_ERROR fail(GC_ERROR code, const char *format, ...) __attribute__((format(printf, 2, 3)));
GC_ERROR give_string(struct answer out, const char *text);
GC_ERROR give_i32(struct answer out, int32_t value);
GC_ERROR give_u32(struct answer out, uint32_t value);
GC_ERROR give_u64(struct answer out, uint64_t value);
GC_ERROR give_size(struct answer out, size_t value);
GC_ERROR give_bool(struct answer out, bool value);
GC_ERROR give_pointer(struct answer out, void *value);

/* system.c */
#define VENDOR "inspection-station"
#define MODEL "SimulatedCamera"
#define VERSION "1.0"
#define TL_TYPE "Custom"
const char *system_module(HANDLE handle); /* "TLSystem", "TLInterface" or NULL */
struct camera *find_camera(HANDLE handle, enum module_kind kind);
uint64_t now_ns(void);

/* device.c */
GC_ERROR camera_open(struct camera *camera);
void camera_close(struct camera *camera);
bool camera_alive(const struct camera *camera); /* open and not unplugged since */
GC_ERROR device_info(const struct camera *camera, int32_t command, struct answer out);

/* registers.c */
void registers_reset(struct camera *camera);
size_t image_bytes(const struct registers *registers);
size_t payload_bytes(const struct registers *registers);

/* stream.c */
GC_ERROR stream_open(struct camera *camera);
void stream_close(struct camera *camera);
struct camera *lock_camera(HANDLE handle, enum module_kind kind); /* NULL: not open, nothing locked */
GC_ERROR unlock(struct camera *camera, GC_ERROR error);            /* returns the error */
void stream_wait_filled(struct camera *camera);
struct buffer *queue_pop(struct buffer_queue *queue);
void queue_push(struct buffer_queue *queue, struct buffer *buffer, enum buffer_place place);

/* sensor.c: called with the camera's lock held, except sensor_run. */
void *sensor_run(void *camera);
void sensor_wake(const struct camera *camera);
void sensor_start(struct camera *camera);
void sensor_stop(struct camera *camera);
void sensor_take_edges(struct camera *camera);
void sensor_software_trigger(struct camera *camera);

/* output.c: called with the camera's lock held */
void output_reset(struct camera *camera);
void output_signal(struct camera *camera);
void output_update(struct camera *camera, uint64_t now);
bool output_level(const struct camera *camera);

/* image.c */
void render(struct camera *camera, const struct registers *registers, const struct exposure *exposure,
            struct buffer *buffer); /* without the lock */
void unfreeze(struct camera *camera);

/* crc32.c */
uint32_t crc32_of(const uint8_t *data, size_t length);

#endif
