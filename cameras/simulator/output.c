/* Line2, the digital output: what drives it, and when it was active.
 *
 * A source that the host holds stays active when the host dies, as on a real camera, until the camera is opened again.
 * Timer0 ends by itself: the end of its period is known, and written, when it begins. */
#include "simcam.h"

/* When the source of the line ends to be active if nothing is written any more; NEVER: not by itself. */
static uint64_t active_until(const struct camera *camera) {
    const struct registers *registers = &camera->registers;
    if (registers->line_mode != LINE_OUTPUT)
        return 0;
    switch (registers->line_source) {
    case LINE_USER_OUTPUT0:
    case LINE_USER_OUTPUT1:
        return registers->user_output_value[registers->line_source - LINE_USER_OUTPUT0] ? NEVER : 0;
    case LINE_TIMER0_ACTIVE: return camera->timer_end_ns;
    }
    return 0;
}

/* Where the end of the newest period is written; NULL before the first. */
static word *newest_fall(struct control *control) {
    uint64_t periods = control->output_periods;
    return periods ? &control->output_fall_ns[(periods - 1) % OUTPUT_RING] : NULL;
}

/* The camera is opened: what its former owner held is let go. */
void output_reset(struct camera *camera) {
    word *fall = newest_fall(camera->control);
    if (fall && *fall == NEVER)
        *fall = now_ns();
    camera->control->output_inverted = 0;
    camera->timer_end_ns = 0;
}

/* After each write, made now: begins, ends or changes the newest period. */
void output_update(struct camera *camera, uint64_t now) {
    struct control *control = camera->control;
    const struct registers *registers = &camera->registers;
    uint64_t until = active_until(camera);
    word *fall = newest_fall(control);
    control->output_inverted = registers->line_mode == LINE_OUTPUT && registers->line_inverter;
    if (fall && *fall > now)
        *fall = until > now ? until : now;
    else if (until > now) {
        uint64_t place = control->output_periods % OUTPUT_RING;
        control->output_rise_ns[place] = now;
        control->output_fall_ns[place] = until;
        control->output_periods++;
    }
}

/* SoftwareSignalPulse of SoftwareSignal0. A running timer takes no trigger. */
void output_signal(struct camera *camera) {
    uint64_t now = now_ns();
    if (camera->registers.timer_trigger_source == TIMER_ON_SIGNAL0 && camera->timer_end_ns <= now)
        camera->timer_end_ns = now + (uint64_t)(camera->registers.timer_duration * 1e3);
    output_update(camera, now);
}

bool output_level(const struct camera *camera) {
    return (active_until(camera) > now_ns()) != (camera->control->output_inverted != 0);
}
