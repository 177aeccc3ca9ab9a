// SPDX-License-Identifier: GPL-2.0
#include "acl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "client.h"
#include "kmod.h"
#include "log.h"
#include "message.h"
#include "ring.h"
#include "session.h"
#include "table.h"
#include "topic.h"

/**
 * struct acl_role - a rule set, and who shares it
 * @install: among those that the module is to get
 * @node: in the map of roles by contents
 * @request: to the module, to install or to forget it
 * @id: the module's name for it
 * @refs: references
 * @next: the next rule for the module, while it is being installed
 * @queued: it is in the list of @install
 * @installed: the module has it
 * @rules: the rules
 */
struct acl_role {
	STAILQ_ENTRY(acl_role) install;
	struct table_node node;
	struct kmod_request request;
	u32 id;
	u32 refs;
	u32 next;
	bool queued;
	bool installed;
	struct kmqtt_rules *rules;
};

/**
 * struct rule - a line of a file
 * @access: KMQTT_ACCESS_*
 * @flags: KMQTT_RULE_*
 * @filter: the topic filter; owned
 */
struct rule {
	u8 access;
	u8 flags;
	char *filter;
};

/**
 * struct section - the rules of one user, the patterns, or those of nobody
 * @link: among the users of the file
 * @node: in the map of users
 * @rules: in the file's order
 * @count: of them
 * @role: of the user, with a reference
 * @name: the user name
 */
struct section {
	STAILQ_ENTRY(section) link;
	struct table_node node;
	struct rule *rules;
	size_t count;
	struct acl_role *role;
	char name[];
};

STAILQ_HEAD(sections, section);

/**
 * struct acl_file - an acl_file
 * @link: among the files
 * @path: its path; the configuration's
 * @users: its users
 * @by_name: the same by name
 * @anonymous: who has no user name
 * @others: users that are not in it; no rules but the patterns
 * @patterns: for everybody
 */
struct acl_file {
	STAILQ_ENTRY(acl_file) link;
	char *path;
	struct sections users;
	struct table by_name;
	struct section *anonymous;
	struct section *others;
	struct section *patterns;
};

/**
 * struct acl - all files of a configuration
 * @files: the files
 * @count: listeners
 * @of: the file of each listener, or NULL
 */
struct acl {
	STAILQ_HEAD(, acl_file) files;
	size_t count;
	struct acl_file *of[];
};

static struct acl *current;
static struct acl *pending;
static struct table roles;
static u32 last_id;
static STAILQ_HEAD(, acl_role) installs = STAILQ_HEAD_INITIALIZER(installs);
static int install_error;
static u32 moves;	/* connections that are being given another role */

static int no_memory(void)
{
	log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
	return -ENOMEM;
}

/* Roles */

static u32 rules_hash(const struct kmqtt_rules *rules)
{
	return table_hash(rules->text, rules->bytes);
}

static bool same_rules(const struct kmqtt_rules *a, const struct kmqtt_rules *b)
{
	u32 i;

	if (a->nr != b->nr || a->nr_plain != b->nr_plain ||
	    a->bytes != b->bytes || memcmp(a->text, b->text, a->bytes))
		return false;
	for (i = 0; i < a->nr; i++)
		if (a->rules[i].len != b->rules[i].len ||
		    a->rules[i].access != b->rules[i].access ||
		    a->rules[i].deny != b->rules[i].deny)
			return false;
	return true;
}

static struct acl_role *role_hold(struct acl_role *role)
{
	if (role)
		role->refs++;
	return role;
}

/* The role with these rules, which are taken over; NULL without memory. */
static struct acl_role *role_get(struct kmqtt_rules *rules)
{
	u32 hash = rules_hash(rules);
	struct table_node *node;
	struct acl_role *role;

	for (node = table_chain(&roles, hash); node; node = node->next) {
		role = container_of(node, struct acl_role, node);
		if (node->hash == hash && same_rules(role->rules, rules)) {
			kmqtt_rules_free(rules);
			return role_hold(role);
		}
	}
	role = calloc(1, sizeof(*role));
	if (!role || table_add(&roles, &role->node, hash)) {
		free(role);
		kmqtt_rules_free(rules);
		return NULL;
	}
	role->rules = rules;
	role->refs = 1;
	role->id = ++last_id;
	return role;
}

static void build_id(struct kmod_request *request, struct nlmsghdr *message,
		     size_t room)
{
	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_RULES_ID,
			 container_of(request, struct acl_role, request)->id);
}

static void role_free(struct acl_role *role)
{
	kmqtt_rules_free(role->rules);
	free(role);
}

static void forgotten(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	if (reply->err)
		log_print(LOG_TYPE_WARNING,
			  "Warning: The kernel module keeps a rule set: %s %s",
			  strerror(-reply->err), reply->text);
	role_free(container_of(request, struct acl_role, request));
}

static void role_put(struct acl_role *role)
{
	static const struct kmod_command rules_del = {
		.cmd = KMQTT_CMD_RULES_DEL,
		.flags = NLM_F_ACK,
		.build = build_id,
		.done = forgotten,
	};

	if (!role || --role->refs)
		return;
	table_del(&roles, &role->node);
	if (role->installed)
		kmod_submit(&role->request, &rules_del);
	else
		role_free(role);
}

/* Reading a file */

static struct section *section_new(const char *name)
{
	struct section *section = calloc(1, sizeof(*section) + strlen(name) + 1);

	if (section)
		strcpy(section->name, name);
	return section;
}

static void section_free(struct section *section)
{
	size_t i;

	if (!section)
		return;
	for (i = 0; i < section->count; i++)
		free(section->rules[i].filter);
	free(section->rules);
	role_put(section->role);
	free(section);
}

static struct section *find_user(const struct acl_file *file, const void *name,
				 size_t len)
{
	u32 hash = table_hash(name, len);
	struct table_node *node;
	struct section *section;

	for (node = table_chain(&file->by_name, hash); node;
	     node = node->next) {
		section = container_of(node, struct section, node);
		if (node->hash == hash && strlen(section->name) == len &&
		    !memcmp(section->name, name, len))
			return section;
	}
	return NULL;
}

/* A user may have several sections, which are one. */
static struct section *user_section(struct acl_file *file, const char *name)
{
	struct section *section = find_user(file, name, strlen(name));

	if (section)
		return section;
	section = section_new(name);
	if (!section || table_add(&file->by_name, &section->node,
				  table_hash((const u8 *)name, strlen(name)))) {
		free(section);
		return NULL;
	}
	STAILQ_INSERT_TAIL(&file->users, section, link);
	return section;
}

static int add_rule(struct section *section, const char *filter, u8 access,
		    u8 flags)
{
	struct rule *grown;

	grown = reallocarray(section->rules, section->count + 1,
			     sizeof(*grown));
	if (!grown)
		return no_memory();
	section->rules = grown;
	grown += section->count;
	grown->filter = strdup(filter);
	if (!grown->filter)
		return no_memory();
	grown->access = access;
	grown->flags = flags;
	section->count++;
	return 0;
}

static int invalid(const char *what, const char *text, const char *path)
{
	char escaped[LOG_ESCAPED(LOG_TEXT_MAX)];

	log_print(LOG_TYPE_ERROR, "Error: %s \"%s\" in acl_file \"%s\".", what,
		  log_escape(escaped, (const u8 *)text, strlen(text)), path);
	return -EINVAL;
}

static int missing(const char *what, const char *path)
{
	log_print(LOG_TYPE_ERROR, "Error: %s in acl_file \"%s\".", what, path);
	return -EINVAL;
}

/* deny is about both. */
static int parse_access(const char *text, u8 *access, u8 *flags)
{
	*access = KMQTT_ACCESS_READ | KMQTT_ACCESS_WRITE;
	if (!strcmp(text, "read"))
		*access = KMQTT_ACCESS_READ;
	else if (!strcmp(text, "write"))
		*access = KMQTT_ACCESS_WRITE;
	else if (!strcmp(text, "deny"))
		*flags |= KMQTT_RULE_DENY;
	else if (strcmp(text, "readwrite"))
		return -EINVAL;
	return 0;
}

static char *skip_spaces(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* "[read|write|readwrite|deny] filter", which may have spaces in it, but for
 * one that stands alone.
 */
static int parse_rule(struct acl_file *file, struct section *section, u8 flags,
		      char *rest)
{
	u8 access = KMQTT_ACCESS_READ | KMQTT_ACCESS_WRITE;
	char *filter, *word;

	word = strtok_r(NULL, " ", &rest);
	if (!word)
		return missing("Empty topic", file->path);
	filter = strtok_r(NULL, "", &rest);
	if (!filter)
		filter = word;
	else if (parse_access(word, &access, &flags))
		return invalid("Invalid topic access type", word, file->path);
	filter = skip_spaces(filter);
	if (kmqtt_topic_filter_check((u8 *)filter, strlen(filter)))
		return invalid("Invalid ACL topic", filter, file->path);
	if (flags & KMQTT_RULE_PATTERN && !strstr(filter, "%c") &&
	    !strstr(filter, "%u"))
		log_print(LOG_TYPE_WARNING,
			  "Warning: ACL pattern '%s' does not contain '%%c' or '%%u'.",
			  filter);
	return add_rule(section, filter, access, flags);
}

static int parse_line(struct acl_file *file, struct section **user, char *line,
		      size_t len)
{
	char *word, *rest;

	if (memchr(line, '\0', len))
		return missing("NUL character", file->path);
	while (len && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
	if (line[0] == '#')
		return 0;
	word = strtok_r(line, " ", &rest);
	if (!word)
		return 0;
	if (!strcmp(word, "topic"))
		return parse_rule(file, *user, 0, rest);
	if (!strcmp(word, "pattern"))
		return parse_rule(file, file->patterns, KMQTT_RULE_PATTERN,
				  rest);
	if (strcmp(word, "user"))
		return invalid("Invalid line", word, file->path);
	word = strtok_r(NULL, "", &rest);
	if (!word)
		return missing("Missing username", file->path);
	*user = user_section(file, skip_spaces(word));
	return *user ? 0 : no_memory();
}

static int parse_file(struct acl_file *file)
{
	struct section *user = file->anonymous;
	unsigned int number = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;
	FILE *in;

	in = fopen(file->path, "re");
	if (!in) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open acl_file \"%s\": %s.",
			  file->path, strerror(errno));
		return -EINVAL;
	}
	while (!err && (len = getline(&line, &size, in)) >= 0) {
		number++;
		err = parse_line(file, &user, line, len);
		if (err)
			log_print(LOG_TYPE_ERROR, "Error found at %s:%u.",
				  file->path, number);
	}
	if (!err && ferror(in)) {
		log_print(LOG_TYPE_ERROR, "Error: Unable to read %s.",
			  file->path);
		err = -EIO;
	}
	free(line);
	fclose(in);
	return err;
}

/* From lines to roles */

/* Those that deny come first; with none, nothing of its kind has. */
static int compile_some(struct kmqtt_rules *rules,
			const struct section *section, u8 deny)
{
	int err = 0;
	size_t i;

	for (i = 0; !err && i < section->count; i++) {
		const struct rule *rule = &section->rules[i];

		if ((rule->flags & KMQTT_RULE_DENY) == deny)
			err = kmqtt_rules_add(rules, (u8 *)rule->filter,
					      strlen(rule->filter),
					      rule->access, rule->flags);
	}
	return err;
}

static int compile_section(struct kmqtt_rules *rules,
			   const struct section *section)
{
	int err = compile_some(rules, section, KMQTT_RULE_DENY);

	return err ? err : compile_some(rules, section, 0);
}

/* What nobody may write, whatever the file says, as in mosquitto. */
static int compile_fixed(struct kmqtt_rules *rules)
{
	static const char * const reserved[] = { "$SYS/#", "$share/#" };
	int err = 0;
	size_t i;

	for (i = 0; !err && i < ARRAY_SIZE(reserved); i++)
		err = kmqtt_rules_add(rules, (const u8 *)reserved[i],
				      strlen(reserved[i]), KMQTT_ACCESS_WRITE,
				      KMQTT_RULE_DENY);
	return err;
}

static int compile_role(struct acl_file *file, struct section *section)
{
	struct kmqtt_rules *rules = kmqtt_rules_alloc();
	int err;

	if (!rules)
		return no_memory();
	err = compile_fixed(rules);
	if (!err)
		err = compile_section(rules, section);
	if (!err)
		err = compile_section(rules, file->patterns);
	if (!err)
		section->role = role_get(rules);
	else
		kmqtt_rules_free(rules);
	if (err == -E2BIG)
		log_print(LOG_TYPE_ERROR,
			  "Error: Too many rules for one user in acl_file \"%s\".",
			  file->path);
	if (err)
		return err;
	return section->role ? 0 : no_memory();
}

static int compile_file(struct acl_file *file)
{
	struct section *section;
	int err;

	err = compile_role(file, file->anonymous);
	if (!err)
		err = compile_role(file, file->others);
	STAILQ_FOREACH(section, &file->users, link)
		if (!err)
			err = compile_role(file, section);
	return err;
}

/* Loading */

static void file_free(struct acl_file *file)
{
	struct section *section;

	while ((section = STAILQ_FIRST(&file->users))) {
		STAILQ_REMOVE_HEAD(&file->users, link);
		section_free(section);
	}
	table_free(&file->by_name);
	section_free(file->anonymous);
	section_free(file->others);
	section_free(file->patterns);
	free(file->path);
	free(file);
}

static struct acl_file *file_new(const char *path)
{
	struct acl_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	STAILQ_INIT(&file->users);
	file->path = strdup(path);
	file->anonymous = section_new("");
	file->others = section_new("");
	file->patterns = section_new("");
	if (file->path && file->anonymous && file->others && file->patterns)
		return file;
	file_free(file);
	return NULL;
}

/* Listeners share what they both name. */
static int load_file(struct acl *acl, const char *path, struct acl_file **of)
{
	struct acl_file *file;
	int err;

	STAILQ_FOREACH(file, &acl->files, link) {
		if (!strcmp(file->path, path)) {
			*of = file;
			return 0;
		}
	}
	file = file_new(path);
	if (!file)
		return no_memory();
	STAILQ_INSERT_TAIL(&acl->files, file, link);
	*of = file;
	err = parse_file(file);
	return err ? err : compile_file(file);
}

int acl_load(const struct config *config, struct config *fresh,
	     struct acl **loaded)
{
	size_t i, count = config->listener_count;
	struct acl *acl;
	int err = 0;

	acl = calloc(1, sizeof(*acl) + count * sizeof(*acl->of));
	if (!acl)
		return no_memory();
	STAILQ_INIT(&acl->files);
	acl->count = count;
	for (i = 0; !err && i < count; i++) {
		const char *path = config_renewed(&config->listeners[i],
						  fresh)->access.acl_file;

		if (path)
			err = load_file(acl, path, &acl->of[i]);
	}
	if (err)
		acl_discard(acl);
	else
		*loaded = acl;
	return err;
}

void acl_discard(struct acl *acl)
{
	struct acl_file *file;

	if (!acl)
		return;
	while ((file = STAILQ_FIRST(&acl->files))) {
		STAILQ_REMOVE_HEAD(&acl->files, link);
		file_free(file);
	}
	free(acl);
}

/* Subjects */

static struct acl_role *role_of(size_t listener, const u8 *user, u16 len)
{
	const struct acl_file *file;
	struct section *section;

	if (!current || listener >= current->count || !current->of[listener])
		return NULL;
	file = current->of[listener];
	if (!user)
		return file->anonymous->role;
	section = find_user(file, user, len);
	return section ? section->role : file->others->role;
}

int acl_subject_set(struct session *session, size_t listener, const u8 *user,
		    u16 user_len)
{
	struct acl_subject *subject = &session->subject;
	struct kmqtt_who who;
	u8 *copy = NULL;

	/* Without a character, it is none, as in mosquitto. */
	if (user_len) {
		copy = malloc(user_len);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, user, user_len);
	}
	acl_subject_free(session);
	subject->known = true;
	subject->listener = listener;
	subject->user = copy;
	subject->user_len = user_len;
	kmqtt_who_init(&who, session->id, session->id_len, copy, user_len);
	subject->wild = who.wild;
	subject->role = role_hold(role_of(listener, copy, user_len));
	return 0;
}

void acl_subject_free(struct session *session)
{
	role_put(session->subject.role);
	free(session->subject.user);
	session->subject = (struct acl_subject){ 0 };
}

bool acl_judge(const struct session *session, const void *topic, u16 len,
	       u8 access)
{
	const struct acl_subject *subject = &session->subject;
	const struct kmqtt_who who = {
		.client_id = session->id,
		.client_id_len = session->id_len,
		.user = subject->user,
		.user_len = subject->user_len,
		.wild = subject->wild,
	};

	return kmqtt_rules_may(subject->role->rules, &who, topic, len, access);
}

bool acl_source_may(const struct message_source *source, const void *topic,
		    u16 len)
{
	const u8 *user = source->user_len ? source->data + source->id_len : NULL;
	struct acl_role *role = role_of(source->listener, user,
					source->user_len);
	struct kmqtt_who who;

	if (!role)
		return true;
	kmqtt_who_init(&who, source->data, source->id_len, user,
		       source->user_len);
	return kmqtt_rules_may(role->rules, &who, topic, len,
			       KMQTT_ACCESS_WRITE);
}

static void put_subject(struct nlmsghdr *message, const struct session *session,
			const struct acl_role *role)
{
	const struct acl_subject *subject = &session->subject;

	mnl_attr_put(message, KMQTT_A_CONN_CLIENT_ID, session->id_len,
		     session->id);
	mnl_attr_put(message, KMQTT_A_CONN_USER_NAME, subject->user_len,
		     subject->user);
	mnl_attr_put_u32(message, KMQTT_A_CONN_RULES_ID, role ? role->id : 0);
}

void acl_put_anew(struct nlmsghdr *message, const struct session *session)
{
	put_subject(message, session, session->subject.role);
}

void acl_put(struct nlmsghdr *message, const struct session *session)
{
	if (session->subject.role)
		put_subject(message, session, session->subject.role);
}

/* The module gets the roles, one after the other. */

static void install_next(void);
static void all_installed(void);

static struct acl_role *installing(struct kmod_request *request)
{
	return container_of(request, struct acl_role, request);
}

/* Bytes that one takes, but for its filter. */
#define RULE_ROOM ((size_t)6 * MNL_ATTR_HDRLEN)

static void build_rules(struct kmod_request *request, struct nlmsghdr *message,
			size_t room)
{
	struct acl_role *role = installing(request);
	const struct kmqtt_rules *rules = role->rules;
	size_t end = message->nlmsg_len + room;
	struct nlattr *nest;

	build_id(request, message, room);
	for (; role->next < rules->nr; role->next++) {
		const struct kmqtt_rule *rule = &rules->rules[role->next];
		u8 flags = rule->deny ? KMQTT_RULE_DENY : 0;

		if (end - message->nlmsg_len < RULE_ROOM + MNL_ALIGN(rule->len))
			return;
		if (role->next >= rules->nr_plain)
			flags |= KMQTT_RULE_PATTERN;
		nest = mnl_attr_nest_start(message, KMQTT_A_RULES_RULE);
		mnl_attr_put(message, KMQTT_A_RULE_FILTER, rule->len,
			     rules->text + rule->off);
		mnl_attr_put_u8(message, KMQTT_A_RULE_ACCESS, rule->access);
		mnl_attr_put_u8(message, KMQTT_A_RULE_FLAGS, flags);
		mnl_attr_nest_end(message, nest);
	}
}

static void install_done(struct acl_role *role, int err, const char *text)
{
	STAILQ_REMOVE_HEAD(&installs, install);
	role->queued = false;
	role->installed = !err;
	if (err) {
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module refused a rule set: %s %s",
			  strerror(-err), text);
		install_error = err;
	}
	role_put(role);
	install_next();
}

static void committed(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	install_done(installing(request), reply->err, reply->text);
}

static void added(struct kmod_request *request, const struct kmod_reply *reply)
{
	static const struct kmod_command rules_add = {
		.cmd = KMQTT_CMD_RULES_ADD,
		.flags = NLM_F_ACK,
		.build = build_rules,
		.done = added,
	};
	static const struct kmod_command rules_commit = {
		.cmd = KMQTT_CMD_RULES_COMMIT,
		.flags = NLM_F_ACK,
		.build = build_id,
		.done = committed,
	};
	struct acl_role *role = installing(request);

	if (reply->err)
		install_done(role, reply->err, reply->text);
	else if (role->next < role->rules->nr)
		kmod_submit(request, &rules_add);
	else
		kmod_submit(request, &rules_commit);
}

/* There is one being written at a time (KMQTT_CMD_RULES_BEGIN). */
static void install_next(void)
{
	static const struct kmod_command rules_begin = {
		.cmd = KMQTT_CMD_RULES_BEGIN,
		.flags = NLM_F_ACK,
		.build = build_id,
		.done = added,
	};
	struct acl_role *role = STAILQ_FIRST(&installs);

	if (role)
		kmod_submit(&role->request, &rules_begin);
	else
		all_installed();
}

/* Queued, a role has another reference; so it is not put twice. */
static void install_role(struct acl_role *role)
{
	if (role->installed || role->queued)
		return;
	role->queued = true;
	role->next = 0;
	STAILQ_INSERT_TAIL(&installs, role_hold(role), install);
}

static void install(struct acl *acl)
{
	struct section *section;
	struct acl_file *file;

	STAILQ_FOREACH(file, &acl->files, link) {
		install_role(file->anonymous->role);
		install_role(file->others->role);
		STAILQ_FOREACH(section, &file->users, link)
			install_role(section->role);
	}
}

/* Making it count */

/**
 * struct move - a connection gets another role
 * @request: to the module
 * @role: the role, with a reference; NULL: none
 * @old: the one before, likewise, which the module may forget afterwards
 * @conn_id: the connection
 * @client_id_len: bytes
 * @user_len: bytes
 * @names: client identifier and user name
 */
struct move {
	struct kmod_request request;
	struct acl_role *role;
	struct acl_role *old;
	u32 conn_id;
	u16 client_id_len;
	u16 user_len;
	u8 names[];
};

static void build_move(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	const struct move *move = container_of(request, struct move, request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, move->conn_id);
	mnl_attr_put(message, KMQTT_A_CONN_CLIENT_ID, move->client_id_len,
		     move->names);
	mnl_attr_put(message, KMQTT_A_CONN_USER_NAME, move->user_len,
		     move->names + move->client_id_len);
	mnl_attr_put_u32(message, KMQTT_A_CONN_RULES_ID,
			 move->role ? move->role->id : 0);
}

static void say_if_done(void)
{
	if (!moves)
		log_print(LOG_TYPE_INFORMATION,
			  "The access rules are in force.");
}

/* Who cannot be judged by the new rules must not stay with the old. */
static void moved(struct kmod_request *request, const struct kmod_reply *reply)
{
	struct move *move = container_of(request, struct move, request);

	if (reply->err && reply->err != -ENOENT && reply->err != -ENOTCONN) {
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module refused the access rules of connection %u: %s %s",
			  move->conn_id, strerror(-reply->err), reply->text);
		client_fail_conn(move->conn_id, REASON_NOT_AUTHORIZED,
				 "access rules not in force");
	}
	role_put(move->role);
	role_put(move->old);
	free(move);
	moves--;
	say_if_done();
}

/* @old: its reference passes on. */
static void move_connection(const struct session *session, u32 conn_id,
			    struct acl_role *old)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_move,
		.done = moved,
	};
	const struct acl_subject *subject = &session->subject;
	struct move *move;

	move = calloc(1, sizeof(*move) + session->id_len + subject->user_len);
	if (!move) {
		role_put(old);
		client_fail_conn(conn_id, REASON_QUOTA, "out of memory");
		return;
	}
	move->role = role_hold(subject->role);
	move->old = old;
	move->conn_id = conn_id;
	move->client_id_len = session->id_len;
	move->user_len = subject->user_len;
	memcpy(move->names, session->id, session->id_len);
	if (subject->user_len)
		memcpy(move->names + session->id_len, subject->user,
		       subject->user_len);
	moves++;
	kmod_submit(&move->request, &conn_set);
}

/* The session's client is judged by the current rules from now on. */
static void judge_anew(struct session *session)
{
	struct acl_subject *subject = &session->subject;
	struct acl_role *old = subject->role;
	struct acl_role *role;

	if (!subject->known)
		return;
	role = role_of(subject->listener, subject->user, subject->user_len);
	if (role == old)
		return;
	subject->role = role_hold(role);
	/* One that has not got that far is told when it does. */
	if (session->client && client_is_judged(session->client))
		move_connection(session, session->client->conn_id, old);
	else
		role_put(old);
}

static void all_installed(void)
{
	struct acl *old = current;

	if (!pending)
		return;
	if (install_error) {
		log_print(LOG_TYPE_ERROR,
			  "Error: The access rules have not changed.");
		acl_discard(pending);
		pending = NULL;
		return;
	}
	current = pending;
	pending = NULL;
	session_each(judge_anew);
	acl_discard(old);
	if (old)
		say_if_done();
}

void acl_swap(struct acl *acl)
{
	bool busy = !STAILQ_EMPTY(&installs);

	acl_discard(pending);
	pending = acl;
	install_error = 0;
	install(acl);
	if (!busy)
		install_next();
}

int acl_start(struct acl *acl)
{
	int err = 0;

	acl_swap(acl);
	while (!err && pending)
		err = ring_turn(true);
	return err ? err : install_error;
}
