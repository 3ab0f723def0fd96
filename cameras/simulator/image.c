/* From the scene to the buffer: the region of interest, in the pixel format, at the exposure and gain; then the chunks.
 *
 * 1000 µs and 0 dB show the scene as it is; brightness is linear in both and clipped at full scale. Scaling happens at
 * the deeper of scene and format: 16-bit scenes are scaled before they are reduced, 8-bit scenes after they are
 * extended. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simcam.h"

#define NOMINAL_EXPOSURE_US 1000.0
#define FULL_8 255
#define FULL_12 4095
#define FULL_16 65535

struct scene {
    uint64_t kind; /* enum scene_kind; 0: no scene, the test pattern */
    const uint8_t *pixels;
    size_t width;
    uint32_t pattern; /* what the test pattern starts from */
};

static struct scene open_scene(struct control *control, const struct registers *registers,
                               const struct exposure *exposure) {
    struct scene scene = {.width = registers->sensor_width};
    if (exposure->scene < SCENE_SLOTS) {
        scene.kind = control->scene_kind[exposure->scene];
        scene.pixels = (const uint8_t *)control + CONTROL_BYTES + exposure->scene * control->scene_bytes;
        return scene;
    }
    scene.pattern = crc32_of((const uint8_t *)registers->device_serial_number, strlen(registers->device_serial_number));
    scene.pattern += (uint32_t)exposure->frame_id;
    return scene;
}

/* ---- scaling ---- */

static void scale_8(uint8_t *row, size_t count, float factor) {
    for (size_t i = 0; i < count; i++) {
        float value = row[i] * factor + 0.5f;
        row[i] = (uint8_t)(value < FULL_8 ? value : FULL_8);
    }
}

static void scale_16(const uint16_t *from, uint16_t *to, size_t count, float factor, int full) {
    float limit = (float)full;
    for (size_t i = 0; i < count; i++) {
        float value = from[i] * factor + 0.5f;
        to[i] = (uint16_t)(value < limit ? value : limit);
    }
}

/* ---- one row of 8-bit grey: what a monochrome sensor sees ---- */

/* BT.601 luma in 15-bit integers, the same numbers as OpenCV's. */
static uint8_t luma(const uint8_t *rgb) {
    return (uint8_t)((9798u * rgb[0] + 19235u * rgb[1] + 3735u * rgb[2] + 16384u) >> 15);
}

static void gray_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *row) {
    size_t first = y * scene->width + x;
    if (scene->kind == SCENE_GRAY8)
        memcpy(row, scene->pixels + first, count);
    else if (scene->kind == SCENE_RGB8)
        for (size_t i = 0; i < count; i++)
            row[i] = luma(scene->pixels + 3 * (first + i));
    else
        for (size_t i = 0; i < count; i++)
            row[i] = (uint8_t)(scene->pattern + x + y + i);
}

/* 16-bit scenes, already scaled and reduced to 8 bit. */
static void reduced_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *row, uint16_t *scratch,
                        float factor) {
    scale_16((const uint16_t *)scene->pixels + y * scene->width + x, scratch, count, factor, FULL_16);
    for (size_t i = 0; i < count; i++)
        row[i] = (uint8_t)(scratch[i] >> 8);
}

static void mono8_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *row, uint16_t *scratch,
                      float factor) {
    if (scene->kind == SCENE_GRAY16) {
        reduced_row(scene, x, y, count, row, scratch, factor);
        return;
    }
    gray_row(scene, x, y, count, row);
    if (factor != 1.0f)
        scale_8(row, count, factor);
}

static void mono12_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *out, uint16_t *scratch,
                       float factor) {
    uint16_t *row = (uint16_t *)out;
    if (scene->kind == SCENE_GRAY16) {
        scale_16((const uint16_t *)scene->pixels + y * scene->width + x, scratch, count, factor, FULL_16);
        for (size_t i = 0; i < count; i++)
            row[i] = scratch[i] >> 4;
        return;
    }
    uint8_t *gray = (uint8_t *)scratch;
    gray_row(scene, x, y, count, gray);
    for (size_t i = 0; i < count; i++)
        row[i] = (uint16_t)(gray[i] << 4 | gray[i] >> 4); /* 255 becomes 4095 */
    if (factor != 1.0f)
        scale_16(row, row, count, factor, FULL_12);
}

static void bayer_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *row, uint16_t *scratch,
                      float factor) {
    if (scene->kind != SCENE_RGB8) {
        mono8_row(scene, x, y, count, row, scratch, factor);
        return;
    }
    /* The sensor's colours are R G / G B; offsets are even, so the region of interest starts with R as well. */
    const uint8_t *pixel = scene->pixels + 3 * (y * scene->width + x);
    for (size_t i = 0; i < count; i++)
        row[i] = pixel[3 * i + (y & 1) + (i & 1)];
    if (factor != 1.0f)
        scale_8(row, count, factor);
}

static void rgb8_row(const struct scene *scene, size_t x, size_t y, size_t count, uint8_t *row, uint16_t *scratch,
                     float factor) {
    if (scene->kind == SCENE_RGB8) {
        memcpy(row, scene->pixels + 3 * (y * scene->width + x), 3 * count);
        if (factor != 1.0f)
            scale_8(row, 3 * count, factor);
        return;
    }
    /* The grey values go to the last third of the row and are spread from the left: none is overwritten unread. */
    uint8_t *gray = row + 2 * count;
    mono8_row(scene, x, y, count, gray, scratch, factor);
    for (size_t i = 0; i < count; i++) {
        uint8_t value = gray[i];
        row[3 * i] = row[3 * i + 1] = row[3 * i + 2] = value;
    }
}

/* ---- noise: every pixel of every exposure has its own ---- */

/* Marsaglia's xorshift64*; the sum of four of its bytes is all but normal, with 510 as mean and 147.8 as deviation. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

static int noise_of(uint32_t bytes, float scale) {
    int sum = (int)((bytes & 255) + (bytes >> 8 & 255) + (bytes >> 16 & 255) + (bytes >> 24));
    return (int)lrintf((float)(sum - 510) * scale);
}

static int clipped(int value, int full) {
    return value < 0 ? 0 : value > full ? full : value;
}

static void add_noise(uint8_t *row, size_t bytes, bool wide, float deviation, uint64_t *state) {
    float scale = deviation / 147.8f * (wide ? 16.0f : 1.0f);
    for (size_t i = 0; i < bytes; i += wide ? 4 : 2) {
        uint64_t bits = next_random(state);
        for (size_t k = 0; k < 2; k++) {
            int noise = noise_of((uint32_t)(k ? bits >> 32 : bits), scale);
            if (wide && i + 2 * k < bytes)
                ((uint16_t *)row)[i / 2 + k] = (uint16_t)clipped(((uint16_t *)row)[i / 2 + k] + noise, FULL_12);
            else if (!wide && i + k < bytes)
                row[i + k] = (uint8_t)clipped(row[i + k] + noise, FULL_8);
        }
    }
}

static void write_pixels(const struct scene *scene, const struct registers *registers, const struct exposure *exposure,
                         float deviation, uint8_t *out) {
    float factor = (float)(exposure->exposure_us / NOMINAL_EXPOSURE_US * pow(10.0, exposure->gain_db / 20.0));
    size_t row_bytes = image_bytes(registers) / registers->height;
    uint64_t state = (exposure->timestamp_ns ^ exposure->frame_id << 48) | 1;
    uint16_t *scratch = malloc(registers->width * sizeof *scratch);
    if (!scratch)
        return;
    for (size_t row = 0; row < registers->height; row++, out += row_bytes) {
        size_t x = registers->offset_x, y = registers->offset_y + row, count = registers->width;
        switch ((enum pixel_format)registers->pixel_format) {
        case MONO8: mono8_row(scene, x, y, count, out, scratch, factor); break;
        case MONO12: mono12_row(scene, x, y, count, out, scratch, factor); break;
        case BAYER_RG8: bayer_row(scene, x, y, count, out, scratch, factor); break;
        case RGB8: rgb8_row(scene, x, y, count, out, scratch, factor); break;
        }
        if (deviation > 0)
            add_noise(out, row_bytes, registers->pixel_format == MONO12, deviation, &state);
    }
    free(scratch);
}

/* ---- the buffer ---- */

static void write_chunks(const struct registers *registers, const struct exposure *exposure, struct buffer *buffer) {
    size_t offset = image_bytes(registers);
    for (int i = 0; i < CHUNKS && registers->chunk_mode_active; i++) {
        if (!registers->chunk_enable[i])
            continue;
        enum chunk_id id = CHUNK_FRAME_ID + i;
        uint64_t value = 0;
        switch (id) {
        case CHUNK_FRAME_ID: value = buffer->frame_id; break;
        case CHUNK_TIMESTAMP: value = exposure->timestamp_ns; break;
        case CHUNK_COUNTER_VALUE: value = exposure->counter_value; break;
        case CHUNK_EXPOSURE_TIME: memcpy(&value, &exposure->exposure_us, sizeof value); break;
        case CHUNK_PAYLOAD_CRC32: value = crc32_of(buffer->base, image_bytes(registers)); break;
        }
        memcpy(buffer->base + offset, &value, CHUNK_BYTES);
        buffer->chunk[buffer->chunks++] = (SINGLE_CHUNK_DATA){(uint64_t)id, (ptrdiff_t)offset, CHUNK_BYTES};
        offset += CHUNK_BYTES;
    }
}

/* The second half of the image changes, after its checksum was taken. */
static void corrupt(uint8_t *image, size_t bytes) {
    for (size_t i = bytes / 2; i < bytes; i++)
        image[i] ^= (uint8_t)(1 + i % 255);
}

void unfreeze(struct camera *camera) {
    free(camera->frozen);
    camera->frozen = NULL;
    camera->frozen_bytes = 0;
}

/* The first image is kept and stands for those that follow. */
static void freeze(struct camera *camera, uint8_t *image, size_t bytes) {
    if (camera->frozen && camera->frozen_bytes == bytes) {
        memcpy(image, camera->frozen, bytes);
        return;
    }
    unfreeze(camera);
    camera->frozen = malloc(bytes);
    if (!camera->frozen)
        return;
    memcpy(camera->frozen, image, bytes);
    camera->frozen_bytes = bytes;
}

static void cut_short(struct buffer *buffer, size_t bytes) {
    buffer->incomplete = true;
    buffer->chunks = 0;
    buffer->filled = bytes;
    memset(buffer->base + bytes, 0, buffer->size - bytes);
}

void render(struct camera *camera, const struct registers *registers, const struct exposure *exposure,
            struct buffer *buffer) {
    buffer->has_data = true;
    buffer->frame_id = exposure->frame_id - (exposure->fault == FAULT_DUPLICATE_ID);
    buffer->timestamp_ns = exposure->timestamp_ns;
    buffer->width = registers->width;
    buffer->height = registers->height;
    buffer->offset_x = registers->offset_x;
    buffer->offset_y = registers->offset_y;
    buffer->pixel_format = registers->pixel_format;
    buffer->chunks = 0;
    buffer->incomplete = false;
    buffer->filled = payload_bytes(registers);
    if (buffer->filled > buffer->size) {
        cut_short(buffer, 0);
        return;
    }
    struct scene scene = open_scene(camera->control, registers, exposure);
    write_pixels(&scene, registers, exposure, (float)camera->control->noise / 1000.0f, buffer->base);
    if (exposure->fault == FAULT_FROZEN)
        freeze(camera, buffer->base, image_bytes(registers));
    else
        unfreeze(camera);
    write_chunks(registers, exposure, buffer);
    if (exposure->fault == FAULT_CORRUPT)
        corrupt(buffer->base, image_bytes(registers));
    if (exposure->fault == FAULT_INCOMPLETE)
        cut_short(buffer, image_bytes(registers) / 2);
}
