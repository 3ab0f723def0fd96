/* The remote device's port: registers, what writing them does, and the GenICam description of them (simcam.xml). */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "simcam.h"

/* Found beside this source file by the compiler. */
static const char xml[] = {
#embed "simcam.xml"
};

#define ADDRESS_OF(field) offsetof(struct registers, field)

void registers_reset(struct camera *camera) {
    struct registers *registers = &camera->registers;
    *registers = (struct registers){
        .device_vendor_name = VENDOR,
        .device_model_name = MODEL,
        .device_temperature = 40.0,
        .sensor_width = camera->control->sensor_width,
        .sensor_height = camera->control->sensor_height,
        .width = camera->control->sensor_width,
        .height = camera->control->sensor_height,
        .pixel_format = camera->control->color ? RGB8 : MONO8,
        .acquisition_frame_rate = 30.0,
        .exposure_time = 1000.0,
        .chunk_enable = {1, 1, 1, 1, 1},
        .timer_duration = 10000.0,
        .timer_trigger_source = TIMER_OFF,
    };
    snprintf(registers->device_serial_number, sizeof registers->device_serial_number, "%s", camera->serial);
    registers->payload_size = payload_bytes(registers);
}

size_t image_bytes(const struct registers *registers) {
    size_t pixels = registers->width * registers->height;
    if (registers->pixel_format == RGB8)
        return 3 * pixels;
    return registers->pixel_format == MONO12 ? 2 * pixels : pixels;
}

size_t payload_bytes(const struct registers *registers) {
    size_t bytes = image_bytes(registers);
    for (int i = 0; i < CHUNKS; i++)
        if (registers->chunk_mode_active && registers->chunk_enable[i])
            bytes += CHUNK_BYTES;
    return bytes;
}

/* The XML states the same limits; this refuses a client that writes the port without it. */
static bool acceptable(const struct registers *r) {
    bool region = r->width >= 1 && r->height >= 1 && r->width <= r->sensor_width && r->height <= r->sensor_height &&
                  r->offset_x <= r->sensor_width - r->width && r->offset_y <= r->sensor_height - r->height;
    bool format = r->pixel_format == MONO8 || r->pixel_format == MONO12 || r->pixel_format == BAYER_RG8 ||
                  r->pixel_format == RGB8;
    bool timing = r->acquisition_frame_rate >= 0.1 && r->acquisition_frame_rate <= 10000.0 &&
                  r->exposure_time >= 1.0 && r->exposure_time <= 10e6;
    bool gain = r->gain >= 0.0 && r->gain <= 48.0;
    bool timer = r->timer_duration >= 10.0 && r->timer_duration <= 10e6;
    return region && format && timing && gain && timer;
}

static void execute(struct camera *camera, uint64_t address) {
    struct registers *registers = &camera->registers;
    switch (address) {
    case ADDRESS_OF(acquisition_start): sensor_start(camera); break;
    case ADDRESS_OF(acquisition_stop): sensor_stop(camera); break;
    case ADDRESS_OF(trigger_software): sensor_software_trigger(camera); break;
    case ADDRESS_OF(software_signal_pulse): output_signal(camera); break;
    case ADDRESS_OF(timestamp_latch): registers->timestamp_latch_value = now_ns(); break;
    case ADDRESS_OF(counter_reset):
        sensor_take_edges(camera);
        camera->counter_value = 0;
        break;
    }
    sensor_wake(camera); /* the frame rate or the trigger mode may have changed */
}

static bool is_writable(uint64_t address, size_t size) {
    uint64_t end = address + size;
    if (address < ADDRESS_OF(timestamp_latch) || end < address || end > sizeof(struct registers))
        return false;
    bool read_only = (address >= ADDRESS_OF(timestamp_latch_value) && address < ADDRESS_OF(width)) ||
                     address == ADDRESS_OF(payload_size) || address == ADDRESS_OF(counter_value) ||
                     address == ADDRESS_OF(missed_trigger_count) || address == ADDRESS_OF(line_status);
    return !read_only;
}

static GC_ERROR write_registers(struct camera *camera, uint64_t address, const void *value, size_t size) {
    if (!camera_alive(camera))
        return fail(GC_ERR_IO, "camera %s is unplugged", camera->serial);
    if (!is_writable(address, size))
        return fail(GC_ERR_INVALID_ADDRESS, "no writable register at 0x%llx", (unsigned long long)address);
    sensor_take_edges(camera); /* earlier edges are exposed with the earlier settings */
    struct registers next = camera->registers;
    memcpy((char *)&next + address, value, size);
    if (!acceptable(&next))
        return fail(GC_ERR_INVALID_VALUE, "the register at 0x%llx refuses the value", (unsigned long long)address);
    camera->registers = next;
    camera->registers.payload_size = payload_bytes(&next);
    uint64_t outputs = 0;
    for (int i = 0; i < USER_OUTPUTS; i++)
        outputs |= (uint64_t)(next.user_output_value[i] != 0) << i;
    camera->control->user_output = outputs;
    execute(camera, address);
    output_update(camera, now_ns());
    return GC_ERR_SUCCESS;
}

static GC_ERROR read_registers(struct camera *camera, uint64_t address, void *value, size_t size) {
    if (!camera_alive(camera))
        return fail(GC_ERR_IO, "camera %s is unplugged", camera->serial);
    if (address > sizeof camera->registers || size > sizeof camera->registers - address)
        return fail(GC_ERR_INVALID_ADDRESS, "no register at 0x%llx", (unsigned long long)address);
    sensor_take_edges(camera); /* so that the counters include every edge up to now */
    camera->registers.counter_value = camera->counter_value;
    camera->registers.missed_trigger_count = camera->missed_trigger_count;
    camera->registers.line_status = output_level(camera);
    memcpy(value, (char *)&camera->registers + address, size);
    return GC_ERR_SUCCESS;
}

static GC_ERROR read_xml(uint64_t address, void *value, size_t size) {
    uint64_t offset = address - XML_ADDRESS;
    if (offset > sizeof xml || size > sizeof xml - offset)
        return fail(GC_ERR_INVALID_ADDRESS, "the description ends at 0x%zx", XML_ADDRESS + sizeof xml);
    memcpy(value, xml + offset, size);
    return GC_ERR_SUCCESS;
}

GC_API GCReadPort(HANDLE port, uint64_t address, void *value, size_t *size) {
    struct camera *camera = find_camera(port, MODULE_PORT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    if (address >= XML_ADDRESS)
        return read_xml(address, value, *size);
    pthread_mutex_lock(&camera->lock);
    GC_ERROR error = read_registers(camera, address, value, *size);
    pthread_mutex_unlock(&camera->lock);
    return error;
}

GC_API GCWritePort(HANDLE port, uint64_t address, const void *value, size_t *size) {
    struct camera *camera = find_camera(port, MODULE_PORT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    pthread_mutex_lock(&camera->lock);
    GC_ERROR error = write_registers(camera, address, value, *size);
    pthread_mutex_unlock(&camera->lock);
    return error;
}

GC_API GCReadPortStacked(HANDLE port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    for (size_t i = 0; i < *count; i++) {
        GC_ERROR error = GCReadPort(port, entries[i].Address, entries[i].pBuffer, &entries[i].Size);
        if (error) {
            *count = i;
            return error;
        }
    }
    return GC_ERR_SUCCESS;
}

GC_API GCWritePortStacked(HANDLE port, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
    for (size_t i = 0; i < *count; i++) {
        GC_ERROR error = GCWritePort(port, entries[i].Address, entries[i].pBuffer, &entries[i].Size);
        if (error) {
            *count = i;
            return error;
        }
    }
    return GC_ERR_SUCCESS;
}

/* ---- descriptions ---- */

/* Only the remote device has a description; the other modules have no features of their own. */
static const char *module_of(HANDLE port, struct camera **camera) {
    *camera = NULL;
    if (system_module(port))
        return system_module(port);
    if ((*camera = find_camera(port, MODULE_PORT)))
        return "Device";
    if ((*camera = find_camera(port, MODULE_DEVICE)))
        return "TLDevice";
    if ((*camera = find_camera(port, MODULE_STREAM)))
        return "TLDataStream";
    return NULL;
}

GC_API GCGetPortInfo(HANDLE port, int32_t command, INFO_DATATYPE *type, void *buffer, size_t *size) {
    struct answer out = {type, buffer, size};
    struct camera *camera;
    const char *module = module_of(port, &camera);
    if (!module)
        return GC_ERR_INVALID_HANDLE;
    switch (command) {
    case PORT_INFO_ID: return give_string(out, camera ? camera->serial : MODEL);
    case PORT_INFO_VENDOR: return give_string(out, VENDOR);
    case PORT_INFO_MODEL: return give_string(out, MODEL);
    case PORT_INFO_TLTYPE: return give_string(out, TL_TYPE);
    case PORT_INFO_MODULE:
    case PORT_INFO_PORTNAME: return give_string(out, module);
    case PORT_INFO_VERSION: return give_string(out, VERSION);
    case PORT_INFO_LITTLE_ENDIAN:
    case PORT_INFO_ACCESS_READ:
    case PORT_INFO_ACCESS_WRITE: return give_bool(out, true);
    case PORT_INFO_BIG_ENDIAN:
    case PORT_INFO_ACCESS_NA:
    case PORT_INFO_ACCESS_NI: return give_bool(out, false);
    }
    return fail(GC_ERR_NOT_IMPLEMENTED, "no port information %d", command);
}

static GC_ERROR check_described(HANDLE port) {
    struct camera *camera;
    const char *module = module_of(port, &camera);
    if (!module)
        return GC_ERR_INVALID_HANDLE;
    if (strcmp(module, "Device") != 0)
        return fail(GC_ERR_NOT_AVAILABLE, "%s has no features of its own", module);
    return GC_ERR_SUCCESS;
}

GC_API GCGetNumPortURLs(HANDLE port, uint32_t *count) {
    *count = 1;
    return check_described(port);
}

GC_API GCGetPortURLInfo(HANDLE port, uint32_t index, int32_t command, INFO_DATATYPE *type, void *buffer,
                        size_t *size) {
    struct answer out = {type, buffer, size};
    GC_ERROR error = check_described(port);
    if (error)
        return error;
    if (index != 0)
        return fail(GC_ERR_INVALID_INDEX, "there is one description");
    char url[96];
    snprintf(url, sizeof url, "local:///simcam.xml;%X;%zX?SchemaVersion=1.1.0", XML_ADDRESS, sizeof xml);
    switch (command) {
    case URL_INFO_URL: return give_string(out, url);
    case URL_INFO_SCHEMA_VER_MAJOR:
    case URL_INFO_SCHEMA_VER_MINOR:
    case URL_INFO_FILE_VER_MAJOR: return give_i32(out, 1);
    case URL_INFO_FILE_VER_MINOR:
    case URL_INFO_FILE_VER_SUBMINOR: return give_i32(out, 0);
    case URL_INFO_FILE_REGISTER_ADDRESS: return give_u64(out, XML_ADDRESS);
    case URL_INFO_FILE_SIZE: return give_u64(out, sizeof xml);
    case URL_INFO_SCHEME: return give_i32(out, URL_SCHEME_LOCAL);
    case URL_INFO_FILENAME: return give_string(out, "simcam.xml");
    }
    return fail(GC_ERR_NOT_AVAILABLE, "no description information %d", command);
}

GC_API GCGetPortURL(HANDLE port, char *url, size_t *size) {
    return GCGetPortURLInfo(port, 0, URL_INFO_URL, NULL, url, size);
}
