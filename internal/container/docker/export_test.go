package docker

import "time"

// SetAnswerTime sets how long the engine may take to answer.
func (p *DockerProvider) SetAnswerTime(d time.Duration) { p.answerTime = d }
