// SPDX-License-Identifier: GPL-2.0
/*
 * What clients ask of a broker when nobody publishes.
 */
#include "mqtt.h"
#include "requests.h"
#include "run.h"

static struct conn *client(struct run *run, uint64_t i)
{
	return &run->conns[i % run->opt->subscribers];
}

/* Idle clients */

/* Answers may come in another order: the next one that waits for none. */
static void begin_ping(struct run *run, uint64_t i)
{
	(void)i;
	while (client(run, run->turn)->state != CONN_READY)
		run->turn++;
	conn_ping(run, client(run, run->turn++));
}

/* Each once at first: what connecting left to be done is then done. */
static bool warm_up(struct run *run)
{
	struct sweep *s = sweep_new(run, "warm-up", run->nconns, begin_ping);

	run->nsweeps = 0;
	return sweep_run(run, s);
}

void ping_work(struct run *run)
{
	if (conn_open_all(run) && warm_up(run))
		sweep_run(run, sweep_new(run, "ping", run->opt->deliveries,
					 begin_ping));
}

/* Connections that come and go */

static void begin_connect(struct run *run, uint64_t i)
{
	conn_open(run, (uint32_t)i);
}

static void begin_disconnect(struct run *run, uint64_t i)
{
	conn_disconnect(run, client(run, i));
}

void connect_work(struct run *run)
{
	if (sweep_run(run, sweep_new(run, "connect", run->nconns,
				     begin_connect)))
		sweep_run(run, sweep_new(run, "disconnect", run->nconns,
					 begin_disconnect));
}

/* One topic, everybody */

static void ask(struct run *run, uint64_t i, unsigned char type)
{
	struct mqtt_filters filters = { 0 };
	char topic[TOPIC_MAX];

	shape_topic(&run->shape, 0, topic);
	mqtt_add_filter(&filters, type, topic, 0);
	conn_ask(run, client(run, i), &filters);
}

static void begin_subscribe(struct run *run, uint64_t i)
{
	ask(run, i, MQTT_SUBSCRIBE);
}

static void begin_unsubscribe(struct run *run, uint64_t i)
{
	ask(run, i, MQTT_UNSUBSCRIBE);
}

void subscribe_work(struct run *run)
{
	if (conn_open_all(run) &&
	    sweep_run(run, sweep_new(run, "subscribe", run->nconns,
				     begin_subscribe)))
		sweep_run(run, sweep_new(run, "unsubscribe", run->nconns,
					 begin_unsubscribe));
}
