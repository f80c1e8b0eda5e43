package deploy

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Task is a container of this node that runs a function. ID, Started and Address together name one life of it: a
// container that is started again is another task.
type Task struct {
	Function    string
	ID          string    // of the container
	Started     time.Time // when it was first seen running
	Address     string    // "10.0.1.7:9999"
	Image       string    // id of its image
	Concurrency int       // connections that it takes at a time; 0: as its function says
	Lifecycle   Lifecycle // "": as its function says
	Leaving     bool      // it was told to stop: it gets no new call
	Fault       string    // what is wrong with its labels, for people; "" when nothing is
}

// The labels of containers. Those of a swarm service are not seen here: in a stack file they stand beside image, not
// below deploy.
const (
	labelRole        = "funker.role"        // "gateway" or "worker": no function
	labelFunction    = "funker.function"    // its name, when that of the service is another one
	labelConcurrency = "funker.concurrency" // these two take precedence over the manifest
	labelLifecycle   = "funker.lifecycle"
	labelService     = "com.docker.swarm.service.name"
)

// taskOf reads a container. It is no task when it has no name, no address yet, or a role of ours.
func taskOf(c container.Summary, network string) (Task, bool) {
	t := Task{ID: c.ID, Image: c.ImageID, Function: cmp.Or(c.Labels[labelFunction], c.Labels[labelService])}
	if t.Function == "" || c.Labels[labelRole] != "" || c.NetworkSettings == nil {
		return t, false
	}
	at := c.NetworkSettings.Networks[network]
	if at == nil || cmp.Or(at.IPAddress, at.GlobalIPv6Address) == "" {
		return t, false
	}
	t.Address = net.JoinHostPort(cmp.Or(at.IPAddress, at.GlobalIPv6Address), functionPort)
	t.readSettings(c.Labels)
	return t, true
}

// readSettings takes over what is right.
func (t *Task) readSettings(labels map[string]string) {
	if text, ok := labels[labelConcurrency]; ok {
		n, err := strconv.Atoi(text)
		if err == nil && n >= 1 && n <= maxConcurrency {
			t.Concurrency = n
		} else {
			t.Fault = fmt.Sprintf("label %s is %q: write a number from 1 to %d", labelConcurrency, shorten(text), maxConcurrency)
		}
	}
	if text, ok := labels[labelLifecycle]; ok {
		known := []Lifecycle{LifecycleAuto, LifecycleOneShot, LifecycleServer}
		if l := Lifecycle(text); slices.Contains(known, l) {
			t.Lifecycle = l
		} else {
			t.Fault = fmt.Sprintf("label %s is %q: write one of %v", labelLifecycle, shorten(text), known)
		}
	}
}
